"""Rows of a table, and the multi-layer perceptron that learns from them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.models.manifest import MlpArchitecture
from deepseek.models.mlp import MlpNetwork
from deepseek.train.device import derive_seed
from deepseek.train.examples import Examples, compute_moments
from deepseek.train.learner import Forward, Learner
from deepseek.train.spec import TrainSpec
from deepseek.train.split import Rows


class TableLearner(Learner):
    """The whole table lies in memory, on the device that computes."""

    network: MlpNetwork

    def __init__(self, spec: TrainSpec, examples: Examples, architecture: MlpArchitecture) -> None:
        self.parts = examples.parts
        self.network = _create_network(spec, examples, architecture)
        self.target = _build_targets(examples, self.network)
        self._table, self._lags = torch.from_numpy(np.ascontiguousarray(examples.table)), examples.lags

    def move(self, device: torch.device) -> None:
        self.network = self.network.to(device)
        self.target, self._table = self.target.to(device), self._table.to(device)
        self.features = self._table.unfold(0, self._lags, 1) if self._lags else self._table

    def compute_loss(self, forward: Forward, rows: Rows, reduction: str) -> Tensor:
        place = torch.from_numpy(rows).to(self.target.device)
        target = self.target[place]
        logits = forward(self.features[place]).float()
        if self.network.probabilities:
            return nn.functional.cross_entropy(logits, target, reduction=reduction)
        return nn.functional.mse_loss(logits[:, 0], target, reduction=reduction)


def _create_network(spec: TrainSpec, examples: Examples, architecture: MlpArchitecture) -> MlpNetwork:
    """Weights by seed (He et al., 2015; Glorot and Bengio, 2010, for tanh), standardisation from the training rows.

    The last layer starts at zero, so the first outputs are those of no model: equal shares, the mean, the last value.
    """
    torch.manual_seed(derive_seed(spec.seed, "weights"))
    network = MlpNetwork(architecture)
    lines = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    for line in lines:
        nn.init.zeros_(line.bias)
        if line is lines[-1]:
            nn.init.zeros_(line.weight)
        elif spec.activation == "tanh":
            nn.init.xavier_uniform_(line.weight)
        else:
            nn.init.kaiming_uniform_(line.weight, nonlinearity="relu")
    rows = examples.parts.training
    mean, scale = compute_moments(examples.features, rows, residual=architecture.residual)
    network.input_mean.copy_(torch.from_numpy(mean))
    network.input_scale.copy_(torch.from_numpy(scale))
    if not network.probabilities:
        values = _compute_changes(examples, architecture.residual)[:, None]
        mean, scale = compute_moments(values, rows, residual=False)
        network.output_mean.copy_(torch.from_numpy(mean))
        network.output_scale.copy_(torch.from_numpy(scale))
    return network


def _build_targets(examples: Examples, network: MlpNetwork) -> Tensor:
    """What the last layer should give for each row: a class, or the target as a distance in `output_scale`."""
    if network.probabilities:
        return torch.from_numpy(examples.target)
    changes = _compute_changes(examples, network.residual)
    return (torch.from_numpy(changes) - network.output_mean) / network.output_scale


def _compute_changes(examples: Examples, residual: bool) -> Any:
    """The target, (N,) float32; of a residual network its distance to the last input."""
    return examples.target - examples.features[:, -1] if residual else examples.target
