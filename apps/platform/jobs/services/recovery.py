"""What the dispatcher writes: it ends attempts that lost their worker, and moves on the jobs that were missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.platform.audit.services import change_state
from apps.platform.jobs.errors import ARTIFACT_DAMAGED, member_lost, worker_gone, worker_lost
from apps.platform.jobs.models import Job, JobInput, JobMember, JobParent
from apps.platform.jobs.scheduling.backoff import compute_retry_pause
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.services.gangs import build_lost_filter
from apps.platform.jobs.services.moves import cancel_running, fail_job, free_job, requeue_running, revive_job
from apps.platform.jobs.states import ENDED, OPEN_MEMBERS, JobState, MemberState
from apps.platform.jobs.submission import get_lease_seconds
from apps.platform.nodes.models import Node
from deepseek.messages import Message, record_messages


def recover_expired(*, actor: Actor, now: datetime | None = None, limit: int = 100) -> int:
    """Queue again, fail or cancel the jobs whose lease ran out; compare-and-set, so several dispatchers may run.

    `now`: the database's time that the caller has found to be no jump of its clock.
    """
    require(actor, "job.recover")
    late = {"lease_until__lt": now or Now()}
    expired = Job.objects.filter(state=JobState.RUNNING, **late)[:limit]
    count = sum(_lose(actor, job, worker_lost(job, get_lease_seconds()), late) for job in expired)
    members = JobMember.objects.filter(build_lost_filter(), **late).select_related("job")[:limit]
    return count + sum(
        _lose_member(actor, member, member_lost(member, get_lease_seconds()), late) for member in members
    )


def recover_abandoned(*, actor: Actor, place: str, is_gone: Callable[[Job | JobMember], bool]) -> int:
    """The same for the jobs whose worker's process has ended, as `is_gone` finds: no lease has to run out for these.

    `place`: what the owners of the jobs have in their names whose processes the caller can see.
    """
    require(actor, "job.recover_abandoned")
    running = Job.objects.filter(state=JobState.RUNNING, owner__contains=place).order_by("pk")
    gone = [job.pk for job in running.only("id", "owner", "process") if is_gone(job)]
    members = JobMember.objects.filter(build_lost_filter(), owner__contains=place).order_by("pk")
    lost = [member.pk for member in members if is_gone(member)]
    count = 0
    if gone:
        abandoned = Job.objects.filter(pk__in=gone, state=JobState.RUNNING).select_related("node")
        count += sum(_lose(actor, job, worker_gone(job), {}) for job in abandoned if is_gone(job))
    if lost:
        abandoned_members = members.filter(pk__in=lost).select_related("job")
        count += sum(_lose_member(actor, one, member_lost(one, None), {}) for one in abandoned_members if is_gone(one))
    return count


def _lose(actor: Actor, job: Job, error: Mapping[str, Any], more: Mapping[str, Any]) -> int:
    """End an attempt without its worker; 1 if it did. The first loss of a job is no reason for a pause."""
    guard = {"owner": job.owner, "attempt": job.attempt, **more}
    try:
        with transaction.atomic():
            if job.cancel_requested_at:
                cancel_running(actor, job, guard)
            elif job.attempts_used < job.max_attempts:
                pause = compute_retry_pause(job.attempts_used - 1)
                requeue_running(actor, job, guard, error=error, pause=pause, stalled_since=None, stalls=0)
            else:
                fail_job(actor, job, error, guard=guard)
    except StaleState:  # it came back, or another dispatcher was faster
        return 0
    return 1


def _lose_member(actor: Actor, member: JobMember, error: Mapping[str, Any], late: Mapping[str, Any]) -> int:
    """End an attempt over several nodes that has lost one of its workers; 1 if it did."""
    try:
        with transaction.atomic():
            job = Job.objects.select_for_update(no_key=True).get(pk=member.job_id)  # before the member: as all do
            change_state(
                member,
                MemberState.FAILED,
                actor=actor.with_job(job.pk),
                guard={"owner": member.owner, **late},
                error=record_messages(error),
                ended_at=Now(),
                lease_until=None,
            )
            if job.state != JobState.RUNNING or job.attempt != member.attempt or not _lose(actor, job, error, {}):
                raise StaleState("The job has moved on.", field="state")
    except StaleState:
        return 0
    return 1


def correct_future_times(*, actor: Actor, now: datetime, longest_lease: float) -> int:
    """Shorten leases and pauses that a clock set back has left in the far future; returns how many.

    They would else keep a lost job, or one that pauses, for as long as the clock was set back.
    """
    require(actor, "job.recover")
    lease_end = now + timedelta(seconds=longest_lease)
    leases = Job.objects.filter(state=JobState.RUNNING, lease_until__gt=lease_end)
    pause_end = now + timedelta(seconds=60 + 2 * settings.ENV.retry_limit_seconds)
    pauses = Job.objects.filter(state=JobState.QUEUED, not_before__gt=pause_end)
    members = JobMember.objects.filter(state__in=OPEN_MEMBERS, lease_until__gt=lease_end)
    renewed = now + timedelta(seconds=get_lease_seconds())
    corrected = leases.update(lease_until=renewed) + members.update(lease_until=renewed)
    return corrected + pauses.update(not_before=now)


def free_waiting(*, actor: Actor, limit: int = 100) -> int:
    """Move on the waiting jobs whose parents have all ended: what `succeed_job` does, for whoever was missed."""
    require(actor, "job.recover")
    open_parent = JobParent.objects.filter(child=OuterRef("pk")).exclude(parent__state__in=ENDED)
    moved = 0
    for job in Job.objects.filter(~Exists(open_parent), state=JobState.WAITING).order_by("pk")[:limit]:
        with transaction.atomic():
            moved += free_job(actor, job)
    return moved


def requeue_repaired(*, actor: Actor, limit: int = 100) -> int:
    """Queue the jobs again that failed on a damaged input whose bytes have come again since.

    The attempt that failed does not count. A job goes on once for each repair: one that finds its input damaged again
    waits for the next. An attempt that began before the repair had read the damaged bytes, whenever it failed.
    """
    require(actor, "job.recover")
    inputs = JobInput.objects.filter(job=OuterRef("pk"))
    failed = Job.objects.filter(
        Exists(inputs.filter(artifact__restored_at__gt=OuterRef("claimed_at"))),
        ~Exists(inputs.filter(artifact__damaged_at__isnull=False)),
        pk__in=JobInput.objects.filter(artifact__restored_at__isnull=False).values("job"),
        state=JobState.FAILED,
        error__code=ARTIFACT_DAMAGED,
    )
    moved = 0
    for job in failed.order_by("pk")[:limit]:
        try:
            with transaction.atomic():
                revive_job(
                    actor, job, Message("The damaged bytes of its input have come again"), released=F("released") + 1
                )
            moved += 1
        except StaleState:  # somebody retried it, or another dispatcher was faster
            continue
    return moved


def list_queues_to_ring(*, actor: Actor) -> list[str]:
    """The queues that hold a job which may start now and that somebody serves: else messages would pile up."""
    require(actor, "job.recover")
    online = Node.objects.with_status().filter(online=True)  # type: ignore[misc]  # an annotation
    served = {queue for node in online for queue in node.queues}
    ready = Job.objects.filter(build_due_filter(), state=JobState.QUEUED)
    invited = JobMember.objects.filter(state=MemberState.INVITED, job__state=JobState.RUNNING)
    awaited = set(invited.values_list("job__queue", flat=True))
    return [queue for queue in sorted(served) if queue in awaited or ready.filter(queue=queue).exists()]
