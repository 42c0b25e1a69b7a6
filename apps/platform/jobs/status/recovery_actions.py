"""Suggested actions for a failed job. One comes first, so that an operator on call need not choose."""

from __future__ import annotations

from dataclasses import dataclass

from apps.platform.jobs.errors import PARENT_FAILED
from apps.platform.jobs.models import Job, JobCheckpoint, JobParent
from apps.platform.jobs.states import JobState

EDIT, RETRY, PARENT = "edit", "retry", "parent"
RESOURCE_ERROR_CODES = (
    "memory_limit",
    "out_of_memory",
    "engine_killed",
)  # the same again would most likely end the same
SUBMISSION_FIELDS = (
    "time_limit_seconds",
    "needs",
    "inputs",
)  # what a submission says beside its spec, whose fields are pointers


@dataclass(frozen=True, slots=True)
class RecoveryActions:
    """`first`: edit, retry or parent, "" where the reader may do nothing; `second`: what else there is, if anything."""

    first: str = ""
    second: str = ""
    parent: Job | None = None  # the job to look at instead
    step: int | None = None  # where a retry goes on


def choose_recovery_actions(
    job: Job, checkpoint: JobCheckpoint | None, *, may_retry: bool, may_edit: bool
) -> RecoveryActions:
    """A spec that named its fault, or a need that was too small, is edited; anything else is tried again."""
    if job.state != JobState.FAILED:
        return RecoveryActions()
    error = job.error or {}
    step = checkpoint.step if checkpoint else None
    if error.get("code") == PARENT_FAILED:
        parent = find_failed_parent(job)
        return RecoveryActions(PARENT if parent else RETRY if may_retry else "", parent=parent)
    able = [action for action, may in ((EDIT, may_edit), (RETRY, may_retry)) if may]
    field = str(error.get("field") or "")
    if not (field.startswith("/") or field in SUBMISSION_FIELDS or error.get("code") in RESOURCE_ERROR_CODES):
        able.reverse()
    first, second = (*able, "", "")[:2]
    return RecoveryActions(first, second, step=step)


def find_failed_parent(job: Job) -> Job | None:
    """Find the first parent that did not succeed."""
    bad = (JobState.FAILED, JobState.CANCELLED)
    link = (
        JobParent.objects.filter(child=job, parent__state__in=bad).select_related("parent").order_by("parent").first()
    )
    return link.parent if link else None
