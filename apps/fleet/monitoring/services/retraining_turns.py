"""One retraining in one round of the dispatcher: its turn, the move that ends a step, and why a step failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.fleet.monitoring.models import Retraining
from apps.fleet.monitoring.services.retraining_plans import lock_retraining
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import find_first_failed
from apps.ml.registry.models import ModelVersion
from apps.platform.audit.services import change_state
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from deepseek.messages import Message, restore_message

POLL = timedelta(seconds=5)  # while jobs run or people decide
DATA_POLL = timedelta(minutes=5)  # while labels or a version of a dataset are waited for


class StepFailed(Exception):
    """It ends here: what is wrong, for people."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Turn:
    """One retraining in one round: `plane` moves it, `owner` is whose rights its work has."""

    plane: Actor
    owner: Actor
    retraining: Retraining
    former: ModelVersion
    now: datetime


def move(turn: Turn, to: str, *, digests: dict[str, str] | None = None, **fields: Any) -> None:
    """Call it in the transaction of what was submitted. Raises StaleState where somebody was faster."""
    change_state(turn.retraining, to, actor=turn.plane, digests=digests, next_at=turn.now, faults=0, **fields)


def lock_step(turn: Turn) -> None:
    """Lock the retraining. Raises StaleState unless it is in the state that this step begins in."""
    if lock_retraining(turn.retraining.pk).state != turn.retraining.state:
        raise StaleState("The retraining has changed meanwhile.", field="state")


def require_key(key: int | None) -> int:
    """A key that the state says is there."""
    if key is None:
        raise LookupError("a key of this state is not there")
    return key


# -- why a step failed ----------------------------------------------------------------------------------------------
def describe_refusal(failure: PlaneError) -> Message:
    """The first of its errors, with the field that it names."""
    error = failure.errors[0]
    text = error["message"]
    return Message("{field}: {error}", field=error["field"], error=text) if error.get("field") else Message(text)


def describe_job(job: Job) -> Message:
    if job.state == JobState.CANCELLED:
        return Message("The job {job} was cancelled.", job=job.pk)
    return Message("The job {job} failed: {error}", job=job.pk, error=restore_message(job.error or {}))


def describe_pipeline(pk: int) -> Message:
    steps = PipelineStep.objects.select_related("job").filter(pipeline=pk).order_by("position")
    step = find_first_failed(steps)
    if step is None:
        return Message("The pipeline {pipeline} was cancelled.", pipeline=pk)
    cause = restore_message(step.job.error or {})
    return Message(
        "The step {step} of the pipeline {pipeline} failed: {error}", step=step.name, pipeline=pk, error=cause
    )
