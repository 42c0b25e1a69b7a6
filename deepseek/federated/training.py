"""One site's part of one round: train the global weights on its own rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from deepseek.federated.features import Examples
from deepseek.federated.network import Weights, build_network, get_weights, set_weights
from deepseek.federated.privacy import (
    NoisePlan,
    PrivateSteps,
    Spend,
    compute_epsilon,
    merge_history,
    require_budget,
    require_growth,
)
from deepseek.federated.spec import StudySpec


@dataclass(frozen=True)
class RoundOutcome:
    """Weights after the round; `history`: all that the site has spent so far, `epsilon` what that comes to."""

    weights: Weights
    history: list[Spend]
    epsilon: float | None


def train_round(
    study: StudySpec,
    examples: Examples,
    base: Weights,
    *,
    round: int,
    plan: NoisePlan | None = None,
    history: Sequence[Spend] = (),
) -> RoundOutcome:
    """Train from the weights `base`. Raises FederationError where privacy is asked for and cannot be shown.

    FedProx adds `mu` times the distance from `base` to each step; after the noise, so that it costs no privacy.
    """
    if (plan is None) != (study.privacy is None):
        raise ValueError("a study with a budget needs a plan of the noise, and only such a study")
    network = build_network(study)
    set_weights(network, base)
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=study.learning_rate)
    if plan is None:
        train_openly(study, network, optimizer, examples, base, round)
        return RoundOutcome(get_weights(network), [], None)
    require_budget(plan, history)
    spent = train_privately(study, network, optimizer, examples, base, plan)
    total = merge_history([*history, *spent])
    epsilon = compute_epsilon(total, plan.budget.delta)
    require_growth(plan, history, epsilon)
    return RoundOutcome(get_weights(network), total, epsilon)


def train_openly(
    study: StudySpec,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    base: Weights,
    round: int,
) -> None:
    """Plain SGD over the rows in an order that seed and round decide."""
    draw = np.random.default_rng((study.seed, round))
    inputs, labels = torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)
    for _ in range(study.local_epochs):
        order = draw.permutation(len(examples))
        for start in range(0, len(order), study.batch_size):
            rows = torch.from_numpy(order[start : start + study.batch_size])
            optimizer.zero_grad()
            scores = network(inputs[rows]).squeeze(1)
            nn.functional.binary_cross_entropy_with_logits(scores, labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            pull_to_base(study, network, base)


def train_privately(
    study: StudySpec,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    base: Weights,
    plan: NoisePlan,
) -> list[Spend]:
    """DP-SGD over rows drawn at random; returns what it spent."""
    steps = PrivateSteps(network, optimizer, plan, len(examples))
    inputs, labels = torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)
    for _ in range(plan.steps_per_round):
        rows = steps.draw_rows()
        scores = steps.network(inputs[rows]).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, labels[rows], reduction="sum")
        steps.step(loss)
        pull_to_base(study, network, base)
    return steps.close()


def pull_to_base(study: StudySpec, network: nn.Module, base: Weights) -> None:
    """The proximal term of FedProx."""
    if study.mu <= 0:
        return
    share = min(1.0, study.learning_rate * study.mu)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(torch.from_numpy(base[name]) - parameter, alpha=share)
