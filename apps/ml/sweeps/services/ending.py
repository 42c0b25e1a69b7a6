"""How a sweep ends: its open trials are cancelled with it, and the run that stands for all of them is closed."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import Conflict, StaleState
from apps.ml.experiments.services import close_parent_run
from apps.ml.experiments.states import RunState
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.states import OPEN_TRIALS, SweepState, TrialState
from apps.platform.audit.services import change_state
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job
from deepseek.messages import Message, record_messages

RUN_ENDS = {
    SweepState.SUCCEEDED: RunState.FINISHED,
    SweepState.FAILED: RunState.FAILED,
    SweepState.CANCELLED: RunState.KILLED,
}


def end_sweep(actor: Actor, sweep: Sweep, to: SweepState, reason: str = "") -> None:
    """Move the sweep to its end, with all that is still open of it. Raises StaleState where somebody was faster."""
    with transaction.atomic():
        ask_job = sweep.ask_job
        change_state(
            sweep,
            to,
            actor=actor,
            reason=reason,
            action="sweep.cancel" if to == SweepState.CANCELLED else "",
            ended_at=Now(),
            ask_job=None,
            end_reason=describe_reason(reason),
        )
        if ask_job is not None:
            stop_job(actor, ask_job, reason)
        why = Message("The sweep has ended: {reason}", reason=reason) if reason else Message("The sweep has ended")
        for trial in sweep.trials.filter(state__in=OPEN_TRIALS).select_related("job", "sweep").order_by("number"):
            end_trial(actor, trial, TrialState.CANCELLED, reason=why)
            if trial.job is not None:
                stop_job(actor, trial.job, why)
        close_parent_run(actor=actor, run=sweep.run, state=RUN_ENDS[to])


def end_trial(
    actor: Actor,
    trial: SweepTrial,
    to: TrialState,
    *,
    reason: str = "",
    objective: float | None = None,
    step: int | None = None,
) -> None:
    """Move a trial to its end with what it came to. Raises StaleState where somebody was faster."""
    change_state(
        trial,
        to,
        actor=actor,
        reason=reason,
        objective=objective,
        step=step,
        ended_at=Now(),
        end_reason=describe_reason(reason),
    )


def describe_reason(reason: str) -> dict[str, Any]:
    """As a row keeps it: the English with its id and values."""
    return record_messages({"message": reason}) if reason else {}


def stop_job(actor: Actor, job: Job, reason: str) -> None:
    """Cancel a job; one that has ended meanwhile stays as it is."""
    try:
        cancel_job(actor=actor, job=job, reason=reason)
    except StaleState:
        raise
    except Conflict:
        return
