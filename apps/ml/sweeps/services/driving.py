"""What the dispatcher does for the sweeps that run: one round is a few steps, each a transaction of its own.

A step reads rows and moves rows by compare-and-set, so that several dispatchers may take it at once, and one that is
killed between two steps leaves nothing that the next round does not go on with.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.core.policy import require
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.schemas import SweepRequest, load_request
from apps.ml.sweeps.services.ending import end_sweep, end_trial
from apps.ml.sweeps.services.pruning import prune_trials
from apps.ml.sweeps.services.results import settle_trials
from apps.ml.sweeps.states import SweepState, TrialState
from apps.ml.sweeps.trial_jobs import MissingPlace, build_trial_submission
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.audit.services import change_state
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import Submission
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import Message, restore_message
from deepseek.sweep.spec import MAX_ASKED, SweepAskSpec, TrialRecord

log = logging.getLogger(__name__)

MAX_FIRST_FAILURES = 3  # of trials that ended first: then something is wrong with all of them
ASK_KIND = "sweep_ask"
RECORDED_STATES = {
    TrialState.PLANNED: "running",
    TrialState.RUNNING: "running",
    TrialState.SUCCEEDED: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAILED: "failed",
    TrialState.CANCELLED: "failed",
}


def advance_sweeps(*, actor: Actor, limit: int = 100, stopping: Callable[[], bool] = lambda: False) -> int:
    """Take every sweep that runs as far as it goes now; how many were looked at."""
    require(actor, "sweep.drive")
    count = 0
    for sweep in Sweep.objects.filter(state=SweepState.RUNNING).select_related("ask_job").order_by("pk")[:limit]:
        if stopping():
            break
        try:
            advance_sweep(actor, sweep)
        except StaleState:  # another dispatcher, a worker or a person was faster: the next round looks again
            continue
        except PlaneError:
            log.exception("sweep %s", sweep.pk)
        count += 1
    return count


def advance_sweep(actor: Actor, sweep: Sweep) -> None:
    request = load_request(sweep)
    settle_trials(actor, sweep, request.settings)
    prune_trials(actor, sweep, request.settings)
    if end_hopeless_sweep(actor, sweep):
        return
    owner = build_actor_from_grant(sweep.grant)
    if owner is None:
        end_sweep(actor, sweep, SweepState.FAILED, Message("Whoever asked for it may not submit jobs any more."))
        return
    counts = Counter(sweep.trials.values_list("state", flat=True))
    is_over = is_time_over(sweep, request)
    if is_over:
        cancel_planned_trials(actor, sweep)
        counts[TrialState.PLANNED] = 0
    else:
        started = start_trials(actor, owner, sweep, request, request.settings.parallel - counts[TrialState.RUNNING])
        counts[TrialState.PLANNED] -= started
        counts[TrialState.RUNNING] += started
    if sweep.ask_job_id is None and not counts[TrialState.PLANNED]:
        missing = 0 if is_over else count_wanted_trials(request, sum(counts.values()), counts[TrialState.RUNNING])
        if missing:
            ask_for_trials(owner, sweep, request, missing)
        elif not counts[TrialState.RUNNING] and (is_over or sum(counts.values()) >= request.settings.trials):
            finish_sweep(actor, owner, sweep, request, is_over)


def count_wanted_trials(request: SweepRequest, made: int, running: int) -> int:
    """How many trials to ask for next: those that TPE learns nothing for at once, later as many as may start."""
    settings = request.settings
    free, left = settings.parallel - running, settings.trials - made
    if free <= 0 or left <= 0:
        return 0
    ahead = left if settings.sampler == "random" else settings.startup_trials - made
    return min(left, max(free, ahead), MAX_ASKED)


def is_time_over(sweep: Sweep, request: SweepRequest) -> bool:
    seconds = request.settings.timeout_seconds
    return seconds is not None and get_database_now() >= sweep.created_at + timedelta(seconds=seconds)


# -- ends -----------------------------------------------------------------------------------------------------------
def end_hopeless_sweep(actor: Actor, sweep: Sweep) -> bool:
    """End a sweep whose first trials all failed, or whose next trials could not be chosen; whether it did."""
    reason = find_asking_failure(sweep) or find_trial_failure(sweep)
    if reason:
        end_sweep(actor, sweep, SweepState.FAILED, reason)
    return bool(reason)


def find_asking_failure(sweep: Sweep) -> str:
    """Why no further trials can be chosen. A last job that failed, which was to tell what mattered, is let go."""
    job = sweep.ask_job
    if job is None or job.state not in (JobState.FAILED, JobState.CANCELLED):
        return ""
    if json.loads(job.spec)["count"]:
        return Message("Job {job}, which chooses the next trials, has ended: {state}.", job=job.pk, state=job.state)
    Sweep.objects.filter(pk=sweep.pk, ask_job=job).update(ask_job=None)
    sweep.ask_job = None
    return ""


def find_trial_failure(sweep: Sweep) -> str:
    if sweep.trials.filter(state__in=(TrialState.SUCCEEDED, TrialState.PRUNED)).exists():
        return ""
    failed = sweep.trials.filter(state=TrialState.FAILED).order_by("number")[:MAX_FIRST_FAILURES]
    if len(failed) < MAX_FIRST_FAILURES:
        return ""
    return Message(
        "The first {count} trials failed. The last one: {reason}",
        count=MAX_FIRST_FAILURES,
        reason=restore_message(failed[MAX_FIRST_FAILURES - 1].end_reason),
    )


def cancel_planned_trials(actor: Actor, sweep: Sweep) -> None:
    for trial in sweep.trials.filter(state=TrialState.PLANNED).select_related("sweep"):
        end_trial(actor, trial, TrialState.CANCELLED, reason=Message("The time limit of the sweep was reached."))


def finish_sweep(actor: Actor, owner: Actor, sweep: Sweep, request: SweepRequest, is_over: bool) -> None:
    """End a sweep whose trials have all ended; a last job tells before what mattered."""
    if not sweep.trials.filter(state=TrialState.SUCCEEDED).exists():
        end_sweep(actor, sweep, SweepState.FAILED, Message("No trial has succeeded."))
        return
    if sweep.importance_trials < sweep.trials.count():
        ask_for_trials(owner, sweep, request, 0)
        return
    reason = Message("The time limit of the sweep was reached.") if is_over else ""
    end_sweep(actor, sweep, SweepState.SUCCEEDED, reason)


# -- steps ----------------------------------------------------------------------------------------------------------
def start_trials(actor: Actor, owner: Actor, sweep: Sweep, request: SweepRequest, free: int) -> int:
    """Queue the jobs of planned trials, as many as may run beside the others; how many were begun or refused."""
    planned = sweep.trials.filter(state=TrialState.PLANNED).select_related("sweep").order_by("number")
    trials = list(planned[: max(0, free)])
    for trial in trials:
        start_trial(actor, owner, trial, request)
    return len(trials)


def start_trial(actor: Actor, owner: Actor, trial: SweepTrial, request: SweepRequest) -> None:
    """Submit the job and move the trial with it; a trial whose values the kind does not take fails."""
    try:
        with transaction.atomic():
            refuse_ended(trial.sweep)
            submission = build_trial_submission(request, trial.number, trial.values)
            job, _ = submit_job(actor=owner, project=trial.sweep.project, submission=submission)
            change_state(trial, TrialState.RUNNING, actor=actor, job_id=job.pk)
    except StaleState:
        raise
    except (PlaneError, MissingPlace) as failure:
        reason = (
            failure.message
            if isinstance(failure, PlaneError)
            else Message("The spec has no field {name}.", name=str(failure))
        )
        end_trial(actor, trial, TrialState.FAILED, reason=reason)


def refuse_ended(sweep: Sweep) -> None:
    """Hold the sweep's row until the transaction ends. StaleState if the sweep has ended."""
    if not Sweep.objects.select_for_update(no_key=True).filter(pk=sweep.pk, state=SweepState.RUNNING).exists():
        raise StaleState("Sweep {sweep_pk} does not run any more.", sweep_pk=sweep.pk, field="state")


def ask_for_trials(owner: Actor, sweep: Sweep, request: SweepRequest, count: int) -> None:
    """Queue the job that chooses the values of `count` trials, and remember it: while it runs no other is asked."""
    trials = list(sweep.trials.order_by("number"))
    spec = SweepAskSpec(settings=request.settings, count=count, trials=[build_record(trial) for trial in trials])
    submission = Submission(
        kind=ASK_KIND,
        spec=spec.model_dump(mode="json"),
        name=f"{sweep.name}: next trials" if count else f"{sweep.name}: importance",
        priority=request.job.priority,
    )
    with transaction.atomic():
        refuse_ended(sweep)
        job, _ = submit_job(actor=owner, project=sweep.project, submission=submission)
        asking = Sweep.objects.filter(pk=sweep.pk, state=SweepState.RUNNING, ask_job=None)
        if not asking.update(ask_job=job, importance_trials=len(trials)):
            raise StaleState("Sweep {sweep_pk} is asking already.", sweep_pk=sweep.pk, field="ask_job")


def build_record(trial: SweepTrial) -> TrialRecord:
    return TrialRecord.model_validate(
        {
            "state": RECORDED_STATES[TrialState(trial.state)],
            "values": trial.values,
            "objective": trial.objective,
            "step": trial.step,
        }
    )
