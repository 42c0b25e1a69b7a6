"""Constructors of the errors stored in `Job.error`, each with a hint for the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.platform.jobs.models import Job, JobMember
from deepseek.messages import N_, Message, record_messages, restore_message

PARENT_FAILED = "parent_failed"
ARTIFACT_DAMAGED = "artifact_damaged"
NODE_UNFIT = "node_unfit"
MIB = 2**20


def build_job_error(
    code: str,
    msgid: str,
    /,
    *,
    field: str | None = None,
    limit: Any = None,
    hint: str | None = None,
    **params: Any,
) -> dict[str, Any]:
    """An error as `Job.error` keeps it: the English with its id and its values (deepseek/messages.py)."""
    texts = {"message": Message(msgid, **params), "hint": None if hint is None else Message(hint)}
    return record_messages({"code": code, **texts, "field": field, "limit": limit})


def authority_gone(job: Job) -> dict[str, Any]:
    message = Message("{requester} may no longer submit jobs here.", requester=job.requester)
    return build_job_error(
        "authority_gone", message, limit="engineer", hint=N_("A member with that role can retry it.")
    )


def worker_lost(job: Job, lease_seconds: float) -> dict[str, Any]:
    silent = f"{lease_seconds:g} s"
    message = Message(
        "The worker on {node} was not heard of for {silent}.", node=job.node or Message("its node"), silent=silent
    )
    return build_job_error("worker_lost", message, limit=silent, hint=N_("Look at the node; then retry the job."))


def worker_gone(job: Job) -> dict[str, Any]:
    message = Message("The worker's process on {node} has ended.", node=job.node or Message("its node"))
    return build_job_error("worker_lost", message, hint=N_("Look at the log of the worker; then retry the job."))


def storage_full() -> dict[str, Any]:
    hint = Message("Free space on the node or in the store: the job goes on by itself.")
    return build_job_error("storage_full", "The disk is full.", hint=hint)


def disk_filled(used_bytes: int) -> dict[str, Any]:
    message = Message(
        "The job has filled the disk itself: its scratch folder has {used_bytes} bytes.", used_bytes=used_bytes
    )
    return build_job_error("storage_full", message, hint=N_("Give it less data, or a node with a larger disk."))


def node_unusable(what: str) -> dict[str, Any]:
    return build_job_error(
        "node_unusable",
        Message("The node cannot use its disk: {what}.", what=what),
        hint=N_("Look at the node's disk."),
    )


def scratch_lost() -> dict[str, Any]:
    return build_job_error(
        "node_unusable", "The job's scratch folder has disappeared.", hint=N_("Look at the node's disk.")
    )


def stalled_for_too_long(error: Mapping[str, Any], hours: float) -> dict[str, Any]:
    """`error` of the last attempt, with how long the job has waited for it to pass."""
    what, advice = restore_message(error), restore_message(error, "hint") or Message("Look at the node.")
    return build_job_error(
        str(error.get("code")),
        "{what} It was so for {hours:g} h.",
        what=what,
        hours=hours,
        limit=f"{hours:g} h",
        hint=Message("{advice} Then retry the job.", advice=advice),
    )


def output_missing(slots: list[str]) -> dict[str, Any]:
    message = Message("No parent made an output for {slots}.", slots=", ".join(slots))
    return build_job_error("output_missing", message, field="inputs", hint=N_("Look at the outputs of its parents."))


def parent_failed(parent: Job | None = None) -> dict[str, Any]:
    """`parent` None: found by the dispatcher, which does not ask which of them it was."""
    message = Message("A job whose output it needs has failed.")
    if parent:
        message = Message(
            "Job {parent_pk}, whose output it needs, has {parent_state}.",
            parent_pk=parent.pk,
            parent_state=parent.state,
        )
    return build_job_error(PARENT_FAILED, message, hint=N_("Retry that job: this one follows."))


def memory_limit(needed: int, allowed: int) -> dict[str, Any]:
    """`needed`: the bytes that the job had when it was ended; what it would have come to is not known.

    The remedy doubles what was allowed, as one that follows each peak would take many attempts.
    """
    needed = max(needed, allowed)
    enough = -(-max(2 * allowed, needed * 5 // 4) // MIB) * MIB
    message = Message(
        "The job took {needed:,} bytes of memory ({needed_2:,.0f} MiB); it asked for {allowed:,} "
        "({allowed_2:,.0f} MiB), so it was ended.",
        needed=needed,
        needed_2=needed / MIB,
        allowed=allowed,
        allowed_2=allowed / MIB,
    )
    hint = Message("Submit it again with needs.memory_bytes of at least {enough}, or give it less data.", enough=enough)
    return build_job_error("memory_limit", message, field="needs.memory_bytes", limit=allowed, hint=hint)


def node_unfit(node: str, what: str) -> dict[str, Any]:
    """A node that was checked before an attempt over several nodes, and cannot take part in it."""
    message = Message("The node {node} failed the check before the attempt: {what}.", node=node, what=what)
    return build_job_error("node_unfit", message, hint=N_("Look at the node. The job goes on with others."))


def member_missing(node: str, seconds: float) -> dict[str, Any]:
    message = Message("The worker on {node} did not answer within {seconds:g} s.", node=node, seconds=seconds)
    return build_job_error("member_missing", message, limit=f"{seconds:g} s", hint=N_("Look at the node."))


def gang_incomplete(job: Job, joined: int, missing: list[str], seconds: float) -> dict[str, Any]:
    """The members that a time-out found missing, by the names of their nodes."""
    message = Message(
        "{joined} of {nodes} nodes joined within {seconds:g} s; missing: {missing}.",
        joined=joined,
        nodes=job.need_nodes,
        seconds=seconds,
        missing=", ".join(missing),
    )
    hint = N_("Look at the nodes named; meanwhile the job takes others.")
    return build_job_error("gang_incomplete", message, field="needs.nodes", limit=f"{seconds:g} s", hint=hint)


def member_lost(member: JobMember, lease_seconds: float | None) -> dict[str, Any]:
    """`lease_seconds`: how long its worker was silent; None if its process was seen to have ended."""
    silent = f"{lease_seconds:g} s" if lease_seconds is not None else ""
    message = (
        Message(
            "The worker on {node}, rank {rank} of the job, was not heard of for {silent}.",
            node=member.node_name,
            rank=member.rank,
            silent=silent,
        )
        if silent
        else Message(
            "The worker's process on {node}, rank {rank} of the job, has ended.",
            node=member.node_name,
            rank=member.rank,
        )
    )
    return build_job_error("member_lost", message, limit=silent or None, hint=N_("Look at the node."))


def member_failed(member: JobMember) -> dict[str, Any]:
    """What ended a member's engine, with the node that it ran on."""
    error = member.error or {}
    what = restore_message(error)
    message = Message("On {node}, rank {rank} of the job: {what}", node=member.node_name, rank=member.rank, what=what)
    return build_job_error(
        str(error.get("code") or "engine_crashed"),
        message,
        field=error.get("field"),
        limit=error.get("limit"),
        hint=restore_message(error, "hint") or None,
    )


def no_progress(seconds: float) -> dict[str, Any]:
    message = Message("The job made no progress for {seconds:g} s.", seconds=seconds)
    hint = N_("The log has the stacks of all ranks from the end of that time.")
    return build_job_error("no_progress", message, limit=f"{seconds:g} s", hint=hint)
