"""What trials came to: read from the runs of their jobs once these have ended."""

from __future__ import annotations

import math

from django.db.models import Q

from apps.core.actors import Actor
from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.states import ENDED as RUN_ENDED
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.services.ending import end_trial
from apps.ml.sweeps.states import TrialState
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import ENDED as JOB_ENDED
from apps.platform.jobs.states import JobState
from deepseek.messages import Message, restore_message
from deepseek.sweep.spec import SweepSettings

MAX_NAMED_METRICS = 10


def settle_trials(actor: Actor, sweep: Sweep, settings: SweepSettings) -> None:
    """End the trials whose jobs have ended, each with the value that its run reported."""
    trials = sweep.trials.filter(state=TrialState.RUNNING, job__state__in=JOB_ENDED).select_related("job", "sweep")
    # A run that is still open is closed by the dispatcher first.
    for trial in trials.filter(Q(job__run=None) | Q(job__run__state__in=RUN_ENDED)).order_by("number"):
        settle_trial(actor, trial, settings)


def settle_trial(actor: Actor, trial: SweepTrial, settings: SweepSettings) -> None:
    job = trial.job
    assert job is not None  # noqa: S101 - asked for by whoever calls
    if job.state == JobState.CANCELLED:
        reason = Message("Its job was cancelled: {reason}", reason=job.cancel_reason) if job.cancel_reason else ""
        end_trial(actor, trial, TrialState.CANCELLED, reason=reason or Message("Its job was cancelled."))
        return
    if job.state == JobState.FAILED:
        end_trial(actor, trial, TrialState.FAILED, reason=restore_message(job.error or {}))
        return
    metric = Metric.objects.filter(run__job=job, key=settings.metric).first()
    value = read_value(metric, settings) if metric is not None else None
    if metric is None:
        end_trial(actor, trial, TrialState.FAILED, reason=describe_missing_metric(job, settings))
    elif value is None:
        reason = Message("Its metric {metric} is not a number.", metric=settings.metric)
        end_trial(actor, trial, TrialState.FAILED, reason=reason)
    else:
        end_trial(actor, trial, TrialState.SUCCEEDED, objective=value, step=metric.step)


def read_value(metric: Metric, settings: SweepSettings) -> float | None:
    """The value that counts; None where it is no number."""
    if settings.value == "last":
        return metric.value if not metric.is_nan and math.isfinite(metric.value) else None
    best = get_best_value(metric, settings)
    return best if best is not None and math.isfinite(best) else None


def get_best_value(metric: Metric, settings: SweepSettings) -> float | None:
    return metric.lowest if settings.direction == "minimize" else metric.highest


def describe_missing_metric(job: Job, settings: SweepSettings) -> Message:
    run = Run.objects.filter(job=job).first()
    keys = list(Metric.objects.filter(run=run).order_by("key").values_list("key", flat=True)) if run else []
    keys = [key for key in keys if not key.startswith("system/")][:MAX_NAMED_METRICS]
    if not keys:
        return Message("Its run reported no metric {metric}.", metric=settings.metric)
    return Message("Its run reported no metric {metric}, but {others}.", metric=settings.metric, others=", ".join(keys))
