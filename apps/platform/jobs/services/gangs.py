"""What workers write of an attempt over several nodes: its members are claimed together, join, report and end.

The first member's worker owns the job's row, as that of any other job; it alone ends the attempt. The workers of the
others write to their member's row and to the job's log, while the job runs this attempt and they own the member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.platform.audit.services import change_state
from apps.platform.jobs.errors import gang_incomplete, member_missing
from apps.platform.jobs.models import Job, JobEvent, JobMember, JobReservation
from apps.platform.jobs.queries import load_by_node, load_left_out_nodes
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.scheduling.gangs import choose_nodes
from apps.platform.jobs.scheduling.placement import choose_devices, compute_free_capacity
from apps.platform.jobs.scheduling.reservations import get_claimable_capacity
from apps.platform.jobs.services.moves import filter_current_attempt, record_move, requeue_running, ring_after_commit
from apps.platform.jobs.states import JobState, MemberState
from apps.platform.jobs.submission import get_lease_seconds
from apps.platform.nodes.models import Node
from deepseek.messages import Message, record_messages

INCOMPLETE_PAUSE_SECONDS = 5.0  # before nodes are looked for again


# -- the claim ------------------------------------------------------------------------------------------------------
def claim_gang(*, actor: Actor, job: Job, node: Node, owner: str) -> Job | None:
    """Let `job` run on as many nodes as it needs, `node` and its worker `owner` first; None if there are too few now.

    Their rows are locked in the order of their keys, so two claims never wait for each other; what was chosen without
    locks is looked at again under them. A claim on one of the nodes alone locks just that one.
    """
    require(actor, "job.claim")
    chosen = _choose(job, node, list(Node.objects.with_status()))
    if chosen is None:
        return None
    with transaction.atomic():
        pks = [node.pk for node in chosen]
        locked = list(Node.objects.with_status().filter(pk__in=pks).order_by("pk").select_for_update(of=("self",)))
        skip = connection.features.has_select_for_update_skip_locked
        queued = Job.objects.filter(build_due_filter(), pk=job.pk, state=JobState.QUEUED, attempt=job.attempt)
        row = queued.select_for_update(skip_locked=skip, of=("self",)).first()
        nodes = _choose(row, node, locked) if row is not None else None
        if row is None or nodes is None:
            return None
        return _take_gang(actor, row, nodes, owner)


def _choose(job: Job, first: Node, nodes: list[Node]) -> list[Node] | None:
    running, reserved_by_node = load_by_node(nodes)
    return choose_nodes(job, first, nodes, running, reserved_by_node, load_left_out_nodes([job]))


def _take_gang(actor: Actor, job: Job, nodes: Sequence[Node], owner: str) -> Job:
    running, reserved_by_node = load_by_node(list(nodes))
    devices = [
        choose_devices(
            job,
            get_claimable_capacity(job, compute_free_capacity(node, running[node.pk]), reserved_by_node.get(node.pk)),
        )
        or []
        for node in nodes
    ]
    names = ", ".join(node.name for node in nodes)
    change_state(
        job,
        JobState.RUNNING,
        actor=actor.with_job(job.pk),
        reason=Message("Members: {names}", names=names),
        guard={"attempt": job.attempt},
        attempt=job.attempt + 1,
        owner=owner,
        node=nodes[0],
        devices=devices[0],
        reserved_on=None,
        lease_until=Now() + timedelta(seconds=get_lease_seconds()),
        claimed_at=Now(),
        process=None,
        progress={},
        error=None,
    )
    JobReservation.objects.filter(job=job).delete()
    JobMember.objects.bulk_create(
        JobMember(
            job=job,
            attempt=job.attempt,
            rank=rank,
            node=node,
            node_name=node.name,
            devices=devices[rank],
            state=MemberState.INVITED if rank else MemberState.JOINED,
            owner="" if rank else owner,
        )
        for rank, node in enumerate(nodes)
    )
    record_move(
        job,
        Message("Claimed by {names}, attempt {attempts_used}", names=names, attempts_used=job.attempts_used),
        node=nodes[0].name,
    )
    for _ in nodes[1:]:
        ring_after_commit(job)
    return job


def claim_member(*, actor: Actor, node: Node, owner: str) -> JobMember | None:
    """The part that `node` was promised to take in a job over several nodes, now of the worker `owner`; None if there
    is none, or another thread was faster.
    """
    require(actor, "job.claim")
    invited = JobMember.objects.filter(
        node=node, state=MemberState.INVITED, job__state=JobState.RUNNING, job__attempt=F("attempt")
    )
    member = invited.select_related("job").order_by("pk").first()
    if member is None:
        return None
    try:
        change_state(
            member,
            MemberState.JOINED,
            actor=actor.with_job(member.job_id),
            guard={"owner": ""},
            owner=owner,
            lease_until=Now() + timedelta(seconds=get_lease_seconds()),
        )
    except StaleState:
        return None
    return member


# -- while it runs --------------------------------------------------------------------------------------------------
def list_members(*, actor: Actor, job: Job) -> list[JobMember]:
    """The members of the attempt that `job` was read with, by rank."""
    require(actor, "job.report")
    return list(JobMember.objects.filter(job=job, attempt=job.attempt).order_by("rank"))


def announce_member(*, actor: Actor, member: JobMember, address: str, port: int) -> JobMember:
    """The member's node is checked and its inputs are there: its engine starts once all others are as far."""
    require(actor, "job.report")
    guard = {"owner": member.owner, "job__state": JobState.RUNNING, "job__attempt": member.attempt}
    return change_state(
        member,
        MemberState.RUNNING,
        actor=actor.with_job(member.job_id),
        guard=guard,
        address=address,
        port=port,
    )


def renew_member_leases(*, actor: Actor, owner: str, members: Sequence[int]) -> int:
    """Renew the lease of every member that `owner` still holds; returns how many. Telemetry: no audit."""
    require(actor, "job.report")
    if not members:
        return 0
    own_members = JobMember.objects.filter(
        pk__in=members, owner=owner, state__in=(MemberState.JOINED, MemberState.RUNNING)
    )
    return own_members.update(lease_until=Now() + timedelta(seconds=get_lease_seconds()))


def report_member(
    *, actor: Actor, member: JobMember, lines: Sequence[Sequence[str]] = (), process: Mapping[str, Any] | None = None
) -> None:
    """Append log lines of this member to the job's log, and set the process of its shim. Telemetry: no audit.

    Raises StaleState when the member, or the attempt that it belongs to, is no longer this owner's.
    """
    require(actor, "job.report")
    with transaction.atomic():
        log_lines = reserve_log_lines(member.job_id, member.attempt, len(lines), events=1 if lines else 0)
        own_member = JobMember.objects.filter(
            pk=member.pk, owner=member.owner, state__in=(MemberState.JOINED, MemberState.RUNNING)
        )
        exists = own_member.update(process=process) if process is not None else own_member.exists()
        if log_lines is None or not exists:
            raise StaleState(
                "Rank {rank} of job {job_pk} is not held by attempt {attempt} any more.",
                rank=member.rank,
                job_pk=member.job_id,
                attempt=member.attempt,
                field="attempt",
            )
        if lines:
            first, seq = log_lines
            payload = {"first": first, "lines": [list(line) for line in lines]}
            JobEvent.objects.create(job_id=member.job_id, seq=seq, attempt=member.attempt, kind="log", payload=payload)


def reserve_log_lines(job_id: int, attempt: int, count: int, *, events: int) -> tuple[int, int] | None:
    """Numbers for `count` lines and `events` events of a log that several workers write; inside a transaction.

    Returns those of the first line and of the last event; None if the job does not run this attempt any more.
    """
    rows = Job.objects.filter(pk=job_id, attempt=attempt, state=JobState.RUNNING)
    if not rows.update(log_lines=F("log_lines") + count, event_seq=F("event_seq") + events):
        return None
    total, seq = Job.objects.values_list("log_lines", "event_seq").get(pk=job_id)
    return total - count + 1, seq


def reserve_lines(*, actor: Actor, job: Job, count: int) -> int:
    """Numbers for `count` more lines of a log that several workers write; returns the last. Telemetry: no audit.

    Raises StaleState when the job is no longer this owner's. Inside the transaction that writes the lines.
    """
    require(actor, "job.report")
    if not filter_current_attempt(job).update(log_lines=F("log_lines") + count):
        raise StaleState(
            "Job {job_pk} is not held by attempt {attempt} any more.",
            job_pk=job.pk,
            attempt=job.attempt,
            field="attempt",
        )
    return Job.objects.values_list("log_lines", flat=True).get(pk=job.pk)


def request_stacks(*, actor: Actor, job: Job) -> int:
    """Ask the members' workers for the stacks of their ranks; returns how many were asked. Telemetry: no audit."""
    require(actor, "job.report")
    running = JobMember.objects.filter(job=job, attempt=job.attempt, rank__gt=0, state=MemberState.RUNNING)
    return running.update(stacks_requested_at=Now())


# -- how it ends ----------------------------------------------------------------------------------------------------
def end_member(
    *, actor: Actor, member: JobMember, state: str, error: Mapping[str, Any] | None = None, retry: bool = True
) -> JobMember:
    """Record how a member's part ended: succeeded, failed or released. The first member's worker reads it."""
    require(actor, "job.finish")
    return change_state(
        member,
        state,
        actor=actor.with_job(member.job_id),
        guard={"owner": member.owner},
        ended_at=Now(),
        lease_until=None,
        error=record_messages(error) if error else None,
        retry=retry,
    )


def give_up_gang(*, actor: Actor, job: Job, seconds: float) -> Job:
    """Queue a job again of whose members some have not joined within `seconds`: these are named, and left out of the
    next attempt. The others are let go; the attempt does not count.
    """
    require(actor, "job.finish")
    guard = {"owner": job.owner, "attempt": job.attempt}
    with transaction.atomic():
        members = JobMember.objects.filter(job=job, attempt=job.attempt).order_by("rank")
        missing = []
        for member in members.filter(state=MemberState.INVITED):
            error = record_messages(member_missing(member.node_name, seconds))
            try:
                change_state(member, MemberState.MISSING, actor=actor.with_job(job.pk), error=error, ended_at=Now())
            except StaleState:  # it has joined this moment, too late all the same
                continue
            missing.append(member.node_name)
        error = gang_incomplete(job, job.need_nodes - len(missing), missing, seconds)
        requeue_running(
            actor,
            job,
            guard,
            error=error,
            pause=INCOMPLETE_PAUSE_SECONDS,
            counts=False,
            released=F("released") + 1,
        )
    return job


def leave_out_node(*, actor: Actor, job: Job, error: Mapping[str, Any]) -> Job:
    """Queue the job again after one of its nodes failed the check before the attempt, which does not count."""
    require(actor, "job.finish")
    with transaction.atomic():
        requeue_running(
            actor,
            job,
            {"owner": job.owner, "attempt": job.attempt},
            error=error,
            pause=INCOMPLETE_PAUSE_SECONDS,
            counts=False,
            released=F("released") + 1,
        )
    return job


def build_lost_filter() -> Q:
    """Members beyond the first whose worker holds them in an attempt that runs."""
    return Q(
        rank__gt=0,
        state__in=(MemberState.JOINED, MemberState.RUNNING),
        job__state=JobState.RUNNING,
        job__attempt=F("attempt"),
    )
