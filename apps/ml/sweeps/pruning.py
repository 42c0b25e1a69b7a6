"""Whether a trial that still runs shall be stopped: arithmetic on what the runs reported, without any I/O."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from deepseek.messages import Message
from deepseek.sweep.spec import SweepSettings

MAX_RUNGS = 40


def is_worse(value: float, other: float, direction: str) -> bool:
    return value > other if direction == "minimize" else value < other


def compare_with_median(settings: SweepSettings, step: int, best: float, others: Sequence[float]) -> Message | None:
    """Why a trial is stopped whose best value up to `step` is `best`; None: it goes on.

    `others`: the best values up to that step of the trials that have succeeded. As Optuna's MedianPruner.
    """
    if step < settings.pruning_steps or len(others) < settings.pruning_trials:
        return None
    median = statistics.median(others)
    if not is_worse(best, median, settings.direction):
        return None
    return Message(
        "At step {step} its best value, {value}, is worse than {median}, the median of {count} trials.",
        step=step,
        value=f"{best:.6g}",
        median=f"{median:.6g}",
        count=len(others),
    )


def list_rungs(settings: SweepSettings, step: int) -> list[tuple[int, int]]:
    """(number, step) of the rungs of successive halving up to a step."""
    first = max(1, settings.pruning_steps)
    rungs = ((number, first * settings.reduction_factor**number) for number in range(MAX_RUNGS))
    return [(number, at) for number, at in rungs if at <= step]


def compare_at_rung(settings: SweepSettings, at: int, value: float, others: Sequence[float]) -> Message | None:
    """Why a trial is stopped that reached `value` at the rung of the step `at`; None: it goes on.

    `others`: what the other trials had reached there. One in `reduction_factor` goes on, and while there are fewer
    trials the best one: asynchronous successive halving (Li et al., 2018), as Optuna's SuccessiveHalvingPruner.
    """
    values = sorted([*others, value], reverse=settings.direction == "maximize")
    survivors = max(1, len(values) // settings.reduction_factor)
    if not is_worse(value, values[survivors - 1], settings.direction):
        return None
    return Message(
        "At step {step} its best value, {value}, is not among the best {kept} of {count} trials.",
        step=at,
        value=f"{value:.6g}",
        kept=survivors,
        count=len(values),
    )
