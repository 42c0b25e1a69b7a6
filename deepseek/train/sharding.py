"""Weights, gradients and optimizer shared out over the ranks by FSDP2: each holds a part of every tensor.

A layer's weights are gathered when it computes and dropped afterwards, so that a rank holds one layer whole at a time
(Zhao et al., "PyTorch FSDP", 2023; torch.distributed.fsdp.fully_shard).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from deepseek.models.trainable import Trainable
from deepseek.train.device import Place
from deepseek.train.learner import Learner

SHARDED = "fsdp"
"""The strategy."""


class ShardedLogits(nn.Module):
    """`forward` is what FSDP hooks into, and training computes logits."""

    def __init__(self, network: Trainable) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network.compute_logits(*inputs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients stay on the ranks: another part of the same step comes."""
        module: Any = self
        module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            module.set_requires_gradient_sync(True)


def share_out(learner: Learner, place: Place) -> ShardedLogits:
    """The learner's network, its tensors in parts; its backward pass leaves the mean of the ranks' gradients.

    Each rank must have the same weights before. Repeated layers are gathered one by one, the rest of the network as a
    whole.
    """
    mesh = init_device_mesh(place.device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(param_dtype=place.dtype, reduce_dtype=torch.float32 if place.dtype else None)
    shared = ShardedLogits(learner.network)
    for layer in list_repeated_layers(shared):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(shared, mesh=mesh, mp_policy=policy)
    return shared


def list_repeated_layers(network: nn.Module) -> list[nn.Module]:
    """The members of the outermost lists of modules: the layers of a transformer."""
    layers: list[nn.Module] = []
    for module in network.children():
        layers += list(module) if isinstance(module, nn.ModuleList) else list_repeated_layers(module)
    return layers


def gather_tensor(tensor: Tensor) -> Tensor:
    """The whole of a tensor of which this rank has a part; all ranks take part. Any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def find_largest(gradients: Sequence[Tensor]) -> float:
    """The largest absolute value in gradients of which each rank has a part; infinite where one is not finite."""
    own = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
    filled = [part for part in own if part.numel()]  # a tensor may have fewer rows than there are ranks
    largest = nn.utils.get_total_norm(filled, math.inf) if filled else own[0].new_zeros(())
    largest = torch.nan_to_num(largest, nan=math.inf).double()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return float(largest)


def place_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, in parts as `like` is, if it is of its shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
