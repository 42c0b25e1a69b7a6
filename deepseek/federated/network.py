"""The model that the sites train, and its weights as they travel."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deepseek.federated.features import Floats
from deepseek.federated.spec import StudySpec

Weights = dict[str, Floats]
"""Parameter name -> float32 values."""
MAX_GROUPS, UNITS_PER_GROUP = 8, 4


def build_network(study: StudySpec) -> nn.Sequential:
    """The untrained model: one output, the log-odds of the positive value."""
    width, model = study.schema_.inputs, study.model
    layers: list[nn.Module] = []
    for units in model.hidden:
        layers.append(nn.Linear(width, units))
        if model.normalization == "group":
            layers.append(nn.GroupNorm(choose_groups(units), units))
        layers.append(nn.ReLU())
        width = units
    layers.append(nn.Linear(width, 1))
    return nn.Sequential(*layers)


def choose_groups(units: int) -> int:
    """How many groups GroupNorm parts the units into: a group of one unit would always come to 0."""
    most = max(1, min(MAX_GROUPS, units // UNITS_PER_GROUP))
    return next(groups for groups in range(most, 0, -1) if units % groups == 0)


def initialize_weights(study: StudySpec) -> Weights:
    """The weights that the first round begins from. The study's seed decides them, on every machine alike: uniform by
    the number of inputs as torch draws them, and a normalization that changes nothing."""
    draw = np.random.default_rng(study.seed)
    weights: Weights = {}
    for place, layer in enumerate(build_network(study)):
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            shape = (layer.out_features, layer.in_features)
            weights[f"{place}.weight"] = draw.uniform(-bound, bound, shape).astype(np.float32)
            weights[f"{place}.bias"] = draw.uniform(-bound, bound, layer.out_features).astype(np.float32)
        elif isinstance(layer, nn.GroupNorm):
            weights[f"{place}.weight"] = np.ones(layer.num_channels, np.float32)
            weights[f"{place}.bias"] = np.zeros(layer.num_channels, np.float32)
    return weights


def get_weights(network: nn.Module) -> Weights:
    return {name: value.detach().cpu().numpy().copy() for name, value in network.named_parameters()}


def set_weights(network: nn.Module, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(np.asarray(weights[name], np.float32).copy()))


def predict(network: nn.Module, inputs: Floats) -> npt.NDArray[np.float64]:
    """Probability of the positive value, for each row."""
    network.eval()
    with torch.no_grad():
        scores = torch.sigmoid(network(torch.from_numpy(inputs)).squeeze(1))
    return scores.numpy().astype(np.float64)


def measure_change(weights: Weights, base: Weights) -> tuple[float, float]:
    """L2 norm and largest absolute value of the difference of all weights; NaN or infinity where there is one."""
    parts = [(weights[name].astype(np.float64) - base[name].astype(np.float64)).ravel() for name in base]
    difference = np.concatenate(parts)
    if not np.isfinite(difference).all():
        return float("nan"), float("nan")
    return float(np.linalg.norm(difference)), float(np.abs(difference).max())
