"""Differential privacy of a site's rows: DP-SGD and its accountant are Opacus's. Without either nothing is trained.

The noise and the draw of rows come from a seed that the operating system gives and that nobody keeps: from the study's
seed the coordinator could compute the noise and take it away.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from deepseek.federated.errors import FederationError
from deepseek.federated.spec import PrivacyBudget, StudySpec
from deepseek.messages import N_

if TYPE_CHECKING:
    from opacus.optimizers import DPOptimizer

ACCOUNTANT = "rdp"
TOLERANCE = 1e-9
Spend = tuple[float, float, int]
"""Noise multiplier, sampling rate, steps: one entry of the accountant's history."""


@dataclass(frozen=True)
class NoisePlan:
    """How much noise each step adds, so that all rounds together stay within the budget."""

    budget: PrivacyBudget
    noise_multiplier: float
    sample_rate: float
    steps_per_round: int


def plan_noise(study: StudySpec, rows: int) -> NoisePlan | None:
    """The plan of a site with so many rows to train on; None for a study without a budget.

    Raises FederationError ``privacy_unavailable`` where Opacus is missing or fails, ``privacy_budget_bad`` for a budget
    that no noise meets or a delta too large for the site.
    """
    budget = study.privacy
    if budget is None:
        return None
    if budget.delta >= 1 / rows:
        raise build_budget_error(f"{budget.delta:g}", f"below 1 / {rows}")
    rate = min(1.0, study.batch_size / rows)
    steps = study.local_epochs * math.ceil(1 / rate)
    try:
        from opacus.accountants.utils import get_noise_multiplier

        sigma = get_noise_multiplier(
            target_epsilon=budget.epsilon,
            target_delta=budget.delta,
            sample_rate=rate,
            steps=steps * study.rounds,
            accountant=ACCOUNTANT,
            epsilon_tolerance=budget.epsilon / 50,
        )
    except ImportError as error:
        raise build_unavailable_error(error) from error
    except ValueError:
        raise build_budget_error(f"epsilon {budget.epsilon:g}", "an epsilon that some noise meets") from None
    if not math.isfinite(sigma) or sigma <= 0:
        raise build_unavailable_error(None)
    return NoisePlan(budget, sigma, rate, steps)


def compute_epsilon(history: Sequence[Spend], delta: float) -> float:
    """What the steps of `history` have spent. Raises FederationError ``privacy_unavailable`` if that is not known."""
    return compute_merged_epsilon(tuple(merge_history(history)), delta) if history else 0.0


@lru_cache(maxsize=64)  # each costs a tenth of a second, and a round asks for the same ones again
def compute_merged_epsilon(history: tuple[Spend, ...], delta: float) -> float:
    try:
        from opacus.accountants import create_accountant

        accountant = create_accountant(ACCOUNTANT)
        accountant.history = list(history)
        epsilon = float(accountant.get_epsilon(delta=delta))
    except Exception as error:  # whatever fails there, the spend is unknown and nothing may leave
        raise build_unavailable_error(error) from error
    if not math.isfinite(epsilon) or epsilon < 0:
        raise build_unavailable_error(None)
    return epsilon


def merge_history(history: Sequence[Spend]) -> list[Spend]:
    """The same spend with steps of equal noise and rate put together, as the accountant keeps it."""
    merged: list[Spend] = []
    for noise, rate, steps in history:
        if merged and merged[-1][:2] == (noise, rate):
            merged[-1] = (noise, rate, merged[-1][2] + steps)
        else:
            merged.append((noise, rate, steps))
    return merged


def require_budget(plan: NoisePlan, history: Sequence[Spend]) -> None:
    """Raise FederationError ``privacy_budget_spent`` if one more round would spend more than the budget."""
    step = (plan.noise_multiplier, plan.sample_rate, plan.steps_per_round)
    after = compute_epsilon([*history, step], plan.budget.delta)
    if after > plan.budget.epsilon + TOLERANCE:
        raise FederationError(
            "privacy_budget_spent",
            N_("Another round would spend epsilon {epsilon}; the budget is {budget}."),
            field="/study/privacy/epsilon",
            value=f"{after:.4f}",
            limit=f"{plan.budget.epsilon:g}",
            hint=N_("The site takes no further part. A new study needs a budget of its own, and another approval."),
            epsilon=round(after, 4),
            budget=plan.budget.epsilon,
        )


def require_growth(plan: NoisePlan, history: Sequence[Spend], epsilon: float) -> None:
    """Raise FederationError ``privacy_unavailable`` unless a round has spent something."""
    if epsilon <= compute_epsilon(history, plan.budget.delta):
        raise build_unavailable_error(None)


class PrivateSteps:
    """DP-SGD on one network: wraps it and its optimizer, and counts what each step spends.

    Each step is checked: a gradient without noise, or a step that the accountant has not counted, raises before any
    weights can leave.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, plan: NoisePlan, rows: int) -> None:
        try:
            from opacus import GradSampleModule
            from opacus.accountants import create_accountant
            from opacus.optimizers import DPOptimizer
            from opacus.validators import ModuleValidator
        except ImportError as error:
            raise build_unavailable_error(error) from error
        if ModuleValidator.validate(network, strict=False):
            raise build_unavailable_error(None)
        self._plan, self._rows = plan, rows
        self._draw = torch.Generator().manual_seed(secrets.randbits(63))
        self._accountant = create_accountant(ACCOUNTANT)
        self.network = GradSampleModule(network, loss_reduction="sum")
        self._optimizer = DPOptimizer(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.budget.max_grad_norm,
            expected_batch_size=max(1, round(plan.sample_rate * rows)),
            loss_reduction="mean",
            generator=torch.Generator().manual_seed(secrets.randbits(63)),
        )
        self._count = self._accountant.get_optimizer_hook_fn(plan.sample_rate)
        self._optimizer.attach_step_hook(self._check_step)
        self._checked = 0

    def draw_rows(self) -> torch.Tensor:
        """Each row with the same chance, by itself, as the accountant assumes; the draw may be empty."""
        return torch.nonzero(torch.rand(self._rows, generator=self._draw) < self._plan.sample_rate).squeeze(1)

    def step(self, loss: torch.Tensor) -> None:
        """Clip, add noise, and change the weights. `loss`: the sum over the rows that were drawn."""
        before = self._checked
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._checked != before + 1:
            raise build_unavailable_error(None)

    def close(self) -> list[Spend]:
        """Give the network back; returns the accountant's history of these steps."""
        history = [(float(a), float(b), int(c)) for a, b, c in self._accountant.history]
        if sum(steps for _, _, steps in history) != self._checked:
            raise build_unavailable_error(None)
        if any(noise != self._plan.noise_multiplier or noise <= 0 for noise, _, _ in history):
            raise build_unavailable_error(None)
        self.network.remove_hooks()
        return history

    def _check_step(self, optimizer: DPOptimizer) -> None:
        self._count(optimizer)
        scale = float(optimizer.expected_batch_size)
        for parameter in optimizer.params:
            noise: Any = parameter.grad * scale - parameter.summed_grad.view_as(parameter)
            if not bool(torch.isfinite(noise).all()) or not bool((noise != 0).any()):
                raise build_unavailable_error(None)
        self._checked += 1


def build_unavailable_error(error: BaseException | None) -> FederationError:
    return FederationError(
        "privacy_unavailable",
        N_("The privacy of this round cannot be shown ({why}), so nothing leaves."),
        field="/study/privacy",
        limit="a privacy accountant, and noise in every step",
        hint=N_("Install deepseek-offline[federation] at the site, and run the job again."),
        why=type(error).__name__ if error is not None else "noise or accounting is missing",
    )


def build_budget_error(value: str, limit: str) -> FederationError:
    return FederationError(
        "privacy_budget_bad",
        N_("This site cannot meet the privacy budget: {what}."),
        field="/study/privacy",
        value=value,
        limit=limit,
        hint=N_("Agree on another budget, and approve the study again."),
        what=value,
    )
