"""What a site tries on invented rows before its first update: that training, freezing, noise and accounting work here.

Libraries that do not fit each other have trained nothing, or without noise, and said nothing (meta-pytorch/opacus#820).
"""

from __future__ import annotations

import numpy as np
import torch

from deepseek.federated.errors import FederationError
from deepseek.federated.features import Examples
from deepseek.federated.network import (
    Weights,
    build_network,
    get_weights,
    initialize_weights,
    measure_change,
    set_weights,
)
from deepseek.federated.privacy import NoisePlan, PrivateSteps, compute_epsilon
from deepseek.federated.spec import StudySpec
from deepseek.federated.training import pull_to_base, train_openly
from deepseek.messages import N_

ROWS, STEPS = 64, 2


def run_self_test(study: StudySpec, plan: NoisePlan | None) -> None:
    """Raise FederationError ``self_test_failed`` for the first thing that does not work."""
    examples = build_rows(study)
    base = initialize_weights(study)
    require("training changes the weights", measure_change(train_plain(study, examples, base), base)[0] > 0)
    require("frozen weights stay", has_frozen_weights(study, examples, base))
    if plan is not None:
        check_privacy(study, plan, examples, base)


def check_privacy(study: StudySpec, plan: NoisePlan, examples: Examples, base: Weights) -> None:
    """The same rows with the study's noise twice: the results differ, and by as much as the noise has to."""
    first, spent = train_with_noise(study, plan, examples, base)
    second, _ = train_with_noise(study, plan, examples, base)
    require("noise changes the weights", measure_change(first, second)[0] > 0)
    deviation = study.learning_rate * plan.noise_multiplier * plan.budget.max_grad_norm / ROWS
    size = np.sqrt(sum(value.size for value in base.values()) * 2 * STEPS) * deviation
    require("the noise is as strong as planned", measure_change(first, second)[0] > 0.1 * float(size))
    history = [(plan.noise_multiplier, 1.0, steps) for steps in (spent, 2 * spent)]
    once, twice = (compute_epsilon([entry], plan.budget.delta) for entry in history)
    require("epsilon grows with every step", 0 < once < twice)


def build_rows(study: StudySpec) -> Examples:
    draw = np.random.default_rng(study.seed)
    inputs = draw.normal(size=(ROWS, study.schema_.inputs)).astype(np.float32)
    return Examples(inputs, (np.arange(ROWS) % 2).astype(np.float32))


def train_plain(study: StudySpec, examples: Examples, base: Weights) -> Weights:
    network = build_network(study)
    set_weights(network, base)
    train_openly(study, network, torch.optim.SGD(network.parameters(), lr=study.learning_rate), examples, base, 0)
    return get_weights(network)


def has_frozen_weights(study: StudySpec, examples: Examples, base: Weights) -> bool:
    """Whether the last layer's bias, frozen, is the same after training the others."""
    network = build_network(study)
    set_weights(network, base)
    name, frozen = list(network.named_parameters())[-1]
    frozen.requires_grad_(False)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    train_openly(study, network, torch.optim.SGD(trained, lr=study.learning_rate), examples, base, 0)
    return bool(np.array_equal(get_weights(network)[name], base[name]))


def train_with_noise(study: StudySpec, plan: NoisePlan, examples: Examples, base: Weights) -> tuple[Weights, int]:
    """Weights after STEPS steps over all rows, and how many steps the accountant has counted."""
    network = build_network(study)
    set_weights(network, base)
    every_row = NoisePlan(plan.budget, plan.noise_multiplier, 1.0, STEPS)
    steps = PrivateSteps(network, torch.optim.SGD(network.parameters(), lr=study.learning_rate), every_row, ROWS)
    inputs, labels = torch.from_numpy(examples.inputs), torch.from_numpy(examples.labels)
    for _ in range(STEPS):
        rows = steps.draw_rows()
        scores = steps.network(inputs[rows]).squeeze(1)
        criterion = torch.nn.functional.binary_cross_entropy_with_logits
        steps.step(criterion(scores, labels[rows], reduction="sum"))
        pull_to_base(study, network, base)
    return get_weights(network), sum(count for _, _, count in steps.close())


def require(what: str, is_met: bool) -> None:
    if is_met:
        return
    raise FederationError(
        "self_test_failed",
        N_("The self-test of the site failed: it is not so that {what}."),
        field="/study",
        limit="a self-test without fault",
        hint=N_("Nothing has left. Install the versions of torch and opacus that the release names."),
        what=what,
    )
