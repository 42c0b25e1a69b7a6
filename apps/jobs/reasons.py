"""Why a job ended without success: the errors that `Job.error` holds, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.jobs.models import Job

PARENT_FAILED = "parent_failed"
ARTIFACT_DAMAGED = "artifact_damaged"
MIB = 2**20


def reason(
    code: str, message: str, *, field: str | None = None, limit: Any = None, hint: str | None = None
) -> dict[str, Any]:
    return {"code": code, "message": message, "field": field, "limit": limit, "hint": hint}


def authority_gone(job: Job) -> dict[str, Any]:
    message = f"{job.requester} may no longer submit jobs here."
    return reason("authority_gone", message, limit="engineer", hint="A member with that role can retry it.")


def worker_lost(job: Job, lease_seconds: float) -> dict[str, Any]:
    silent = f"{lease_seconds:g} s"
    message = f"The worker on {job.node or 'its node'} was not heard of for {silent}."
    return reason("worker_lost", message, limit=silent, hint="Look at the node; then retry the job.")


def worker_gone(job: Job) -> dict[str, Any]:
    message = f"The worker's process on {job.node or 'its node'} has ended."
    return reason("worker_lost", message, hint="Look at the log of the worker; then retry the job.")


def storage_full() -> dict[str, Any]:
    hint = "Free space on the node or in the store: the job goes on by itself."
    return reason("storage_full", "The disk is full.", hint=hint)


def disk_filled(used_bytes: int) -> dict[str, Any]:
    message = f"The job has filled the disk itself: its scratch folder has {used_bytes} bytes."
    return reason("storage_full", message, hint="Give it less data, or a node with a larger disk.")


def node_unusable(what: str) -> dict[str, Any]:
    return reason("node_unusable", f"The node cannot use its disk: {what}.", hint="Look at the node's disk.")


def scratch_lost() -> dict[str, Any]:
    return reason("node_unusable", "The job's scratch folder has disappeared.", hint="Look at the node's disk.")


def stalled_for_too_long(error: Mapping[str, Any], hours: float) -> dict[str, Any]:
    """`error` of the last attempt, with how long the job has waited for it to pass."""
    message = f"{error.get('message', '')} It was so for {hours:g} h."
    hint = str(error.get("hint") or "Look at the node.")
    return reason(str(error.get("code")), message, limit=f"{hours:g} h", hint=f"{hint} Then retry the job.")


def output_missing(slots: list[str]) -> dict[str, Any]:
    message = f"No parent made an output for {', '.join(slots)}."
    return reason("output_missing", message, field="inputs", hint="Look at the outputs of its parents.")


def parent_failed(parent: Job | None = None) -> dict[str, Any]:
    """`parent` None: found by the dispatcher, which does not ask which of them it was."""
    message = "A job whose output it needs has failed."
    if parent:
        message = f"Job {parent.pk}, whose output it needs, has {parent.state}."
    return reason(PARENT_FAILED, message, hint="Retry that job: this one follows.")


def memory_limit(needed: int, allowed: int) -> dict[str, Any]:
    """`needed`: the bytes that the job had when it was ended; what it would have come to is not known.

    The remedy doubles what was allowed, as one that follows each peak would take many attempts.
    """
    needed = max(needed, allowed)
    enough = -(-max(2 * allowed, needed * 5 // 4) // MIB) * MIB
    message = (
        f"The job took {needed:,} bytes of memory ({needed / MIB:,.0f} MiB); it asked for {allowed:,} "
        f"({allowed / MIB:,.0f} MiB), so it was ended."
    )
    hint = f"Submit it again with needs.memory_bytes of at least {enough}, or give it less data."
    return reason("memory_limit", message, field="needs.memory_bytes", limit=allowed, hint=hint)
