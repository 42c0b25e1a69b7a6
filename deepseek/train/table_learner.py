"""Rows of a table, and the multi-layer perceptron that learns from them."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import MlpArchitecture
from deepseek.models.mlp import MlpNetwork
from deepseek.train.columns import Doubles
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
        self.class_weights = compute_class_weights(spec, examples)
        self._codes = examples.target
        self._table, self._lags = torch.from_numpy(np.ascontiguousarray(examples.table)), examples.lags

    def move(self, device: torch.device) -> None:
        self.network = self.network.to(device)
        self.target, self._table = self.target.to(device), self._table.to(device)
        self._loss_weights = (
            None if self.class_weights is None else torch.from_numpy(self.class_weights).float().to(device)
        )
        self.features = self._table.unfold(0, self._lags, 1) if self._lags else self._table

    def compute_loss(self, forward: Forward, rows: Rows, reduction: str) -> Tensor:
        place = torch.from_numpy(rows).to(self.target.device)
        target = self.target[place]
        logits = forward(self.features[place]).float()
        if self.network.probabilities:
            return nn.functional.cross_entropy(logits, target, weight=self._loss_weights, reduction=reduction)
        return nn.functional.mse_loss(logits[:, 0], target, reduction=reduction)

    def count_terms(self, rows: Rows) -> float:
        """The rows, or the sum of their classes' weights: what `cross_entropy` divides a weighted sum by."""
        if self.class_weights is None:
            return float(len(rows))
        return float(self.class_weights[self._codes[rows]].sum())


def compute_class_weights(spec: TrainSpec, examples: Examples) -> Doubles | None:
    """The weight (C,) of each class in the loss; None where all rows count alike.

    Balanced: the training rows divided by (classes times the rows of the class), as scikit-learn does, so that the
    weights of all training rows sum to their number. Raises EngineError ``weight_class_unknown``.
    """
    if spec.class_weights == "none" and not spec.weights:
        return None
    _refuse_unknown_classes(spec, examples)
    counts = np.bincount(examples.target[examples.parts.training], minlength=len(examples.classes))
    weights = np.ones(len(counts)) if spec.class_weights == "none" else counts.sum() / (len(counts) * counts)
    for weight in spec.weights:
        weights[examples.classes.index(weight.name)] = weight.weight
    return np.asarray(weights, np.float64)


def _refuse_unknown_classes(spec: TrainSpec, examples: Examples) -> None:
    for position, weight in enumerate(spec.weights):
        if weight.name not in examples.classes:
            raise EngineError(
                "weight_class_unknown",
                "The target {target!r} has no class {name!r} to weight.",
                target=spec.target,
                name=weight.name,
                field=f"/weights/{position}/name",
                value=weight.name,
                limit=", ".join(examples.classes[:20]),
                hint=N_("Name a class as the target column writes it, or leave its weight out."),
            )


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
    for module in network.embeddings:
        embedding = cast(nn.Embedding, module)
        # A category's vector is as long as one standardised number; that of no category stays 0 until a row has it.
        nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
        nn.init.zeros_(embedding.weight[-1])
    rows = examples.parts.training
    if examples.numbers:
        numbers = examples.features[:, : examples.numbers]
        mean, scale = compute_moments(numbers, rows, residual=architecture.residual)
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
