"""Stop the trials that do badly, by what their runs have reported so far."""

from __future__ import annotations

import math

from django.db import transaction
from django.db.models import Max, Min, QuerySet

from apps.core.actors import Actor
from apps.ml.experiments.models import Metric, MetricPoint
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.pruning import compare_at_rung, compare_with_median, list_rungs
from apps.ml.sweeps.services.ending import end_trial, stop_job
from apps.ml.sweeps.states import TrialState
from apps.platform.jobs.states import JobState
from deepseek.messages import Message
from deepseek.sweep.spec import SweepSettings


def prune_trials(actor: Actor, sweep: Sweep, settings: SweepSettings) -> None:
    """Look at each running trial that has reported since it was looked at last."""
    if settings.pruner == "none":
        return
    trials = sweep.trials.filter(state=TrialState.RUNNING, job__state=JobState.RUNNING).select_related("job", "sweep")
    by_job = {trial.job_id: trial for trial in trials}
    for metric in Metric.objects.filter(run__job__in=list(by_job), key=settings.metric).select_related("run"):
        trial = by_job[metric.run.job_id]
        if trial.checked_step is None or metric.step > trial.checked_step:
            check_trial(actor, trial, metric, settings)


def check_trial(actor: Actor, trial: SweepTrial, metric: Metric, settings: SweepSettings) -> None:
    rungs = dict(trial.rungs)
    if settings.pruner == "median":
        reason = check_median(trial, metric, settings)
    else:
        reason = check_rungs(trial, metric, settings, rungs)
    with transaction.atomic():
        open_trial = SweepTrial.objects.filter(pk=trial.pk, state=TrialState.RUNNING)
        if not open_trial.update(checked_step=metric.step, rungs=rungs) or reason is None:
            return
        value = metric.value if not metric.is_nan and math.isfinite(metric.value) else None
        end_trial(actor, trial, TrialState.PRUNED, reason=reason, objective=value, step=metric.step)
        if trial.job is not None:
            stop_job(actor, trial.job, Message("Pruned. {reason}", reason=reason))


def check_median(trial: SweepTrial, metric: Metric, settings: SweepSettings) -> Message | None:
    own = MetricPoint.objects.filter(metric=metric)
    best = read_best(own, metric.step, settings).get(metric.pk)
    if best is None or metric.step < settings.pruning_steps:
        return None
    other_points = MetricPoint.objects.filter(
        metric__key=settings.metric,
        metric__run__job__sweep_trial__sweep=trial.sweep_id,
        metric__run__job__sweep_trial__state=TrialState.SUCCEEDED,
    )
    return compare_with_median(settings, metric.step, best, [*read_best(other_points, metric.step, settings).values()])


def check_rungs(trial: SweepTrial, metric: Metric, settings: SweepSettings, rungs: dict[str, float]) -> Message | None:
    """Note in `rungs` what the trial had reached at each that it has passed; the first one that says stop decides."""
    for number, at in list_rungs(settings, metric.step):
        if str(number) in rungs:
            continue
        best = read_best(MetricPoint.objects.filter(metric=metric), max(at, metric.first_step), settings).get(metric.pk)
        if best is None:
            continue
        rungs[str(number)] = best
        rows = SweepTrial.objects.filter(sweep=trial.sweep_id, rungs__has_key=str(number)).exclude(pk=trial.pk)
        rung_values = [values_by_rung[str(number)] for values_by_rung in rows.values_list("rungs", flat=True)]
        if reason := compare_at_rung(settings, at, best, rung_values):
            return reason
    return None


def read_best(points: QuerySet[MetricPoint], step: int, settings: SweepSettings) -> dict[int, float]:
    """{metric: its best value up to a step}; without those that have none."""
    best = Min("value") if settings.direction == "minimize" else Max("value")
    rows = points.filter(step__lte=step, is_nan=False).order_by().values_list("metric_id").annotate(best)
    return {metric: value for metric, value in rows if value is not None and math.isfinite(value)}
