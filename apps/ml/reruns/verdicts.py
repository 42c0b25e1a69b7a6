"""The verdict on two runs, as one document: what differs of what went in, and of what came out.

    identical          the same end, every series and every output equal by digest
    within_tolerance   the same end, the same metrics at the same steps, every number within the tolerance
    different          anything else
    undecided          all that was read is within the tolerance, and the budget did not reach to the end

Left out, because it is never twice the same: what was measured by the clock, and of the machine. The weight of a file
counts as its bytes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.ml.experiments.models import Run
from apps.ml.reruns import inputs, metric_comparison, outputs
from apps.ml.reruns.metric_comparison import Compared, Figures
from apps.ml.reruns.outputs import Output
from apps.ml.reruns.series import Budget
from apps.ml.reruns.states import Verdict
from apps.ml.reruns.tolerance import Tolerance
from deepseek.messages import N_

POINTS_PER_REQUEST = 50_000  # of both runs, that an answer on request reads: a third of a second
POINTS_PER_PAGE = 10_000  # that a page reads beside all else that it shows


def verdict_between(
    *, actor: Actor, run: Run, against: Run, tolerance: Tolerance, points: int = POINTS_PER_REQUEST
) -> dict[str, Any]:
    """The verdict on `run` beside `against`, for a request: it reads no more than about `points` points.

    Raises Invalid for two kinds of work, or a run beside itself, Conflict while one of them has not ended.
    """
    for one in (run, against):
        require(actor, "run.view", one)
    check_pair(run, against)
    return verdict_on(against, run, tolerance, Budget(points))


def check_pair(run: Run, against: Run) -> None:
    if run.pk == against.pk:
        raise Invalid(
            "Run {run_pk} cannot be judged beside itself.",
            run_pk=run.pk,
            field="against",
            hint=N_("Name another run of this project."),
        )
    if run.kind != against.kind:
        other, own = against.kind or "none", run.kind or "none"
        raise Invalid(
            "Run {against_pk} is of the kind {other}, and run {run_pk} of the kind {own}.",
            against_pk=against.pk,
            other=other,
            run_pk=run.pk,
            own=own,
            code="other_kind",
            field="against",
            limit=run.kind or "a run recorded from outside",
            hint=N_("Two runs are judged that did the same kind of work."),
        )
    for one in (run, against):
        if not one.ended:
            raise not_ended(one)


def not_ended(run: Run) -> Conflict:
    return Conflict(
        "Run {run_pk} has not ended.",
        run_pk=run.pk,
        code="run_not_ended",
        field="state",
        limit="finished, failed, killed",
        hint=N_("Wait for its end; what it measures until then may still change."),
    )


def verdict_on(was: Run, now: Run, tolerance: Tolerance, budget: Budget) -> dict[str, Any]:
    """The document on `now` beside `was`, both ended. Raises Interrupted when the budget says stop."""
    metrics = metric_comparison.compare_metrics(was, now, tolerance, budget)
    figures = metric_comparison.compare_figures(was, now, tolerance)
    paths, unequal = outputs.compare_outputs(was, now, same_figures=not figures.differing)
    differing = inputs.differing_inputs(was, now)
    word = word_for(was, now, metrics, figures, unequal)
    return {
        "verdict": word.value,
        # Results differ, and nothing that was recorded explains it: the work is not deterministic.
        "unexplained": not differing and word in (Verdict.WITHIN_TOLERANCE, Verdict.DIFFERENT),
        "run": now.pk,
        "against": was.pk,
        "tolerance": tolerance.as_dict(),
        "ends": {"was": was.state, "now": now.state},
        "inputs": [one.as_dict() for one in differing],
        "circumstances": [one.as_dict() for one in inputs.circumstances(was, now)],
        "unrecorded": inputs.unrecorded(was, now),
        "metrics": metrics_part(metrics),
        "figures": {
            "compared": figures.compared,
            "differing": len(figures.differing),
            "outside": sum(not one.within for one in figures.differing),
            "items": [one.as_dict() for one in worst_figures(figures)],
        },
        "outputs": {
            "compared": paths,
            "differing": len(unequal),
            "items": [one.as_dict() for one in unequal[: outputs.SHOWN]],
        },
        "points_read": budget.read,
        "digests": {"was": was.metrics_digest, "now": now.metrics_digest},
    }


def word_for(was: Run, now: Run, metrics: Sequence[Compared], figures: Figures, unequal: Sequence[Output]) -> Verdict:
    words = {one.verdict for one in metrics}
    missing = any(not (one.was and one.now) for one in unequal)
    if was.state != now.state or "different" in words or not figures.within or missing:
        return Verdict.DIFFERENT
    if "undecided" in words:
        return Verdict.UNDECIDED
    if words <= {"identical"} and not figures.differing and all(one.times_only for one in unequal):
        return Verdict.IDENTICAL
    return Verdict.WITHIN_TOLERANCE


def metrics_part(metrics: Sequence[Compared]) -> dict[str, Any]:
    """How many there are of each, and those that differ most."""
    words = [one.verdict for one in metrics]
    differing = sorted((one for one in metrics if one.verdict != "identical"), key=lambda one: one.key)
    differing.sort(key=lambda one: one.badness, reverse=True)
    return {
        "compared": len(metrics),
        **{word: words.count(word) for word in Verdict.values},
        "items": [one.as_dict() for one in differing[: metric_comparison.SHOWN]],
    }


def worst_figures(figures: Figures) -> list[metric_comparison.Figure]:
    ordered = sorted(figures.differing, key=lambda one: (one.within, -(one.relative or 0.0), one.path))
    return ordered[: metric_comparison.SHOWN]
