"""The networks of torchvision for classes of images, with their standardisation inside."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import mobilenet_v3_large, mobilenet_v3_small, resnet18

from deepseek.models.manifest import ImageArchitecture
from deepseek.models.trainable import Trainable

MEAN, SCALE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of the channels over ImageNet, in units of 0 to 255: the weights that torchvision publishes expect them."""
MOMENTUM = 0.1
"""How fast the statistics of batches follow them. torchvision's MobileNetV3 has 0.01, for trainings of 600 epochs."""
FINAL_LAYERS = {"resnet18": "fc", "mobilenet_v3_small": "classifier.3", "mobilenet_v3_large": "classifier.3"}
"""The name of the layer that gives the classes."""


class DroppingLinear(nn.Linear):
    """A linear layer whose inputs are dropped out in training; its tensors are named as those of any linear layer."""

    def __init__(self, inputs: int, outputs: int, share: float) -> None:
        super().__init__(inputs, outputs)
        self.share = share

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(features, self.share, self.training))


class ImageNetwork(Trainable):
    """Class shares (n, C) of images (n, 3, height, width) of float32 from 0 to 255."""

    input_mean: Tensor
    input_scale: Tensor

    def __init__(self, architecture: ImageArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = _build_backbone(architecture)
        self.register_buffer("input_mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("input_scale", torch.tensor(SCALE).view(3, 1, 1))
        self.keeps_activations = True  # False: computed again in the backward pass

    def forward(self, images: Tensor) -> Tensor:
        return self.compute_logits(images).softmax(dim=1)

    def compute_logits(self, *inputs: Tensor) -> Tensor:
        features = (inputs[0] - self.input_mean) / self.input_scale
        for stage in self.list_stages():
            features = self._run_stage(stage, features)
        logits: Tensor = self._get_head()(features)
        return logits

    def list_stages(self) -> list[nn.Module]:
        """The parts of the network before its classifier, one after the other."""
        net: Any = self.backbone
        if self.architecture.backbone != "resnet18":
            return list(net.features)
        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        return [stem, net.layer1, net.layer2, net.layer3, net.layer4]

    def _get_head(self) -> Callable[[Tensor], Tensor]:
        net: Any = self.backbone
        last = net.fc if self.architecture.backbone == "resnet18" else net.classifier
        return lambda features: last(torch.flatten(net.avgpool(features), 1))

    def _run_stage(self, stage: nn.Module, features: Tensor) -> Tensor:
        if self.keeps_activations or not torch.is_grad_enabled() or not self.training:
            result: Tensor = stage(features)
            return result

        def build_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _freeze_statistics(stage)

        again: Tensor = checkpoint(stage, features, use_reentrant=False, context_fn=build_contexts)
        return again


def _build_backbone(architecture: ImageArchitecture) -> nn.Module:
    network: Any
    if architecture.backbone == "resnet18":
        network = resnet18(weights=None, num_classes=architecture.outputs)
        network.fc = DroppingLinear(network.fc.in_features, architecture.outputs, architecture.dropout)
        return cast(nn.Module, network)
    build = mobilenet_v3_small if architecture.backbone == "mobilenet_v3_small" else mobilenet_v3_large
    network = build(weights=None, num_classes=architecture.outputs, dropout=architecture.dropout)
    for layer in list_normalizations(network):
        layer.momentum = MOMENTUM
    return cast(nn.Module, network)


def list_normalizations(module: nn.Module) -> list[nn.BatchNorm2d]:
    """The layers that keep statistics of the batches they see."""
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def calibrate_statistics(network: ImageNetwork, images: Tensor) -> None:
    """Let fresh layers begin with the statistics of `images` (n, 3, height, width), of float32, instead of 0 and 1.

    Signals of fresh weights are far smaller than 1 after some fifty layers: until the statistics had come down there,
    the network would predict the same of every image.
    """
    layers = list_normalizations(network)
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    was_training = network.training
    with torch.no_grad():
        network.train().compute_logits(images)
    network.train(was_training)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.zero_()


@contextmanager
def _freeze_statistics(module: nn.Module) -> Iterator[None]:
    """Let layers normalize by their batch without counting it: a second pass over it is none more."""
    layers = list_normalizations(module)
    before = [(layer, layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, momentum, count in before:
            layer.momentum, layer.num_batches_tracked = momentum, count
