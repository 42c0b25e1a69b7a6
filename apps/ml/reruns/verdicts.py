"""Build the verdict on two runs: one document with the differing inputs, metrics, figures and outputs.

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
from apps.ml.reruns.metric_comparison import Figures, RerunMetricComparison
from apps.ml.reruns.outputs import Output
from apps.ml.reruns.series import Budget
from apps.ml.reruns.states import Verdict
from apps.ml.reruns.tolerance import Tolerance
from deepseek.messages import N_

POINTS_PER_REQUEST = 50_000  # of both runs, that an answer on request reads: a third of a second
POINTS_PER_PAGE = 10_000  # that a page reads beside all else that it shows


def compare_pair(
    *, actor: Actor, run: Run, against: Run, tolerance: Tolerance, points: int = POINTS_PER_REQUEST
) -> dict[str, Any]:
    """The verdict on `run` beside `against`, for a request: it reads no more than about `points` points.

    Raises Invalid for two kinds of work, or a run beside itself, Conflict while one of them has not ended.
    """
    for side in (run, against):
        require(actor, "run.view", side)
    check_pair(run, against)
    return build_verdict(against, run, tolerance, Budget(points))


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
    for side in (run, against):
        if not side.ended:
            raise build_open_run_error(side)


def build_open_run_error(run: Run) -> Conflict:
    return Conflict(
        "Run {run_pk} has not ended.",
        run_pk=run.pk,
        code="run_not_ended",
        field="state",
        limit="finished, failed, killed",
        hint=N_("Wait for its end; what it measures until then may still change."),
    )


def build_verdict(was: Run, now: Run, tolerance: Tolerance, budget: Budget) -> dict[str, Any]:
    """The document on `now` beside `was`, both ended. Raises Interrupted when the budget says stop."""
    metrics = metric_comparison.compare_metrics(was, now, tolerance, budget)
    figures = metric_comparison.compare_figures(was, now, tolerance)
    paths, unequal = outputs.compare_outputs(was, now, same_figures=not figures.differing)
    differing = inputs.list_differing_inputs(was, now)
    word = decide_verdict(was, now, metrics, figures, unequal)
    return {
        "verdict": word.value,
        # Results differ, and nothing that was recorded explains it: the work is not deterministic.
        "unexplained": not differing and word in (Verdict.WITHIN_TOLERANCE, Verdict.DIFFERENT),
        "run": now.pk,
        "against": was.pk,
        "tolerance": tolerance.as_dict(),
        "ends": {"was": was.state, "now": now.state},
        "inputs": [item.as_dict() for item in differing],
        "circumstances": [item.as_dict() for item in inputs.list_circumstances(was, now)],
        "unrecorded": inputs.list_unrecorded(was, now),
        "metrics": summarize_metrics(metrics),
        "figures": {
            "compared": figures.compared,
            "differing": len(figures.differing),
            "outside": sum(not item.within for item in figures.differing),
            "items": [item.as_dict() for item in sort_worst_figures(figures)],
        },
        "outputs": {
            "compared": paths,
            "differing": len(unequal),
            "items": [item.as_dict() for item in unequal[: outputs.MAX_ITEMS]],
        },
        "points_read": budget.read,
        "digests": {"was": was.metrics_digest, "now": now.metrics_digest},
    }


def decide_verdict(
    was: Run, now: Run, metrics: Sequence[RerunMetricComparison], figures: Figures, unequal: Sequence[Output]
) -> Verdict:
    words = {item.verdict for item in metrics}
    missing = any(not (item.was and item.now) for item in unequal)
    if was.state != now.state or "different" in words or not figures.is_within_tolerance or missing:
        return Verdict.DIFFERENT
    if "undecided" in words:
        return Verdict.UNDECIDED
    if words <= {"identical"} and not figures.differing and all(item.times_only for item in unequal):
        return Verdict.IDENTICAL
    return Verdict.WITHIN_TOLERANCE


def summarize_metrics(metrics: Sequence[RerunMetricComparison]) -> dict[str, Any]:
    """How many there are of each, and those that differ most."""
    words = [item.verdict for item in metrics]
    differing = sorted((item for item in metrics if item.verdict != "identical"), key=lambda item: item.key)
    differing.sort(key=lambda item: item.sort_key, reverse=True)
    return {
        "compared": len(metrics),
        **{word: words.count(word) for word in Verdict.values},
        "items": [item.as_dict() for item in differing[: metric_comparison.MAX_ITEMS]],
    }


def sort_worst_figures(figures: Figures) -> list[metric_comparison.Figure]:
    ordered = sorted(figures.differing, key=lambda figure: (figure.within, -(figure.relative or 0.0), figure.path))
    return ordered[: metric_comparison.MAX_ITEMS]
