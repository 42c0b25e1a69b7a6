"""Match jobs to nodes and explain why a queued job waits: pure functions over needs and capacity."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.platform.jobs.models import Job
from apps.platform.nodes.disks import describe_short_disks
from apps.platform.nodes.extras import GANG
from apps.platform.nodes.labels import find_missing_label, list_satisfied_requests
from apps.platform.nodes.models import Node

MAX_ESTIMATE_SECONDS = 30 * 86_400.0  # an estimate beyond it is none


@dataclass(frozen=True, slots=True)
class FreeCapacity:
    """What a node has left beside the jobs that run on it."""

    cpus: float
    memory_bytes: int
    gpus: tuple[dict[str, Any], ...]  # those no running job holds
    extras: tuple[str, ...] = ()  # what it has beyond the core; no job takes any of it away
    labels: tuple[str, ...] = ()  # likewise
    node_id: int | None = None

    def subtract_needs(self, reserved_for: Job) -> FreeCapacity:
        """What is left when the needs of `kept` are set aside: less than nothing, where there is too little for it.

        Of the GPUs the ones that `kept` would get, as many as are free.
        """
        fitting = sorted(
            (gpu for gpu in self.gpus if gpu["memory_bytes"] >= reserved_for.need_gpu_memory_bytes), key=get_gpu_memory
        )
        aside = [gpu["index"] for gpu in fitting[: reserved_for.need_gpus]]
        return FreeCapacity(
            cpus=self.cpus - reserved_for.need_cpus,
            memory_bytes=self.memory_bytes - reserved_for.need_memory_bytes,
            gpus=tuple(gpu for gpu in self.gpus if gpu["index"] not in aside),
            extras=self.extras,
            labels=self.labels,
            node_id=self.node_id,
        )


def get_gpu_memory(gpu: dict[str, Any]) -> int:
    return int(gpu["memory_bytes"])


def compute_free_capacity(node: Node, running: Iterable[Job]) -> FreeCapacity:
    jobs = list(running)
    used_gpus = {index for job in jobs for index in job.devices}
    return FreeCapacity(
        cpus=node.cpus - sum(job.need_cpus for job in jobs),
        memory_bytes=node.memory_bytes - sum(job.need_memory_bytes for job in jobs),
        gpus=tuple(gpu for gpu in node.gpus if gpu["index"] not in used_gpus),
        extras=tuple(node.extras),
        labels=tuple(node.labels),
        node_id=node.pk,
    )


def get_total_capacity(node: Node) -> FreeCapacity:
    return compute_free_capacity(node, ())


def choose_devices(job: Job, free: FreeCapacity) -> list[int] | None:
    """Indices of free GPUs that this job would get, the smallest that suffice; None if there are too few."""
    fitting = sorted((gpu for gpu in free.gpus if gpu["memory_bytes"] >= job.need_gpu_memory_bytes), key=get_gpu_memory)
    return [gpu["index"] for gpu in fitting[: job.need_gpus]] if len(fitting) >= job.need_gpus else None


@dataclass(frozen=True, slots=True)
class Opening:
    """When a node will have room: once `jobs` have ended, by their own reports at `expected`, at the latest (by their
    time limits) at `latest`. `expected` is None where one of them reports no end.
    """

    jobs: tuple[Job, ...]
    expected: datetime | None
    latest: datetime


def find_opening(job: Job, node: Node, running: Iterable[Job], now: datetime) -> Opening | None:
    """When `node` will hold `job` beside what then still runs; None if it does already, or never will."""
    left = sorted(running, key=lambda candidate: get_expected_end(candidate, now) or get_latest_end(candidate, now))
    if not describe_shortfall(job, compute_free_capacity(node, left)) or describe_shortfall(
        job, get_total_capacity(node)
    ):
        return None
    # A job that ends only adds room, so the first count that fits is found by halves.
    count = 1 + bisect_left(
        range(1, len(left) + 1),
        True,
        key=lambda count: not describe_shortfall(job, compute_free_capacity(node, left[count:])),
    )
    ending, running_on = left[:count], left[count:]
    for candidate in left[: count - 1]:  # whose end alone changes nothing: it gives back other things than are missing
        if not describe_shortfall(job, compute_free_capacity(node, [*running_on, candidate])):
            ending.remove(candidate)
            running_on.append(candidate)
    ends = [get_expected_end(candidate, now) for candidate in ending]
    known_ends = [end for end in ends if end is not None]
    return Opening(
        jobs=tuple(ending),
        expected=max(known_ends) if len(known_ends) == len(ends) else None,
        latest=max(get_latest_end(candidate, now) for candidate in ending),
    )


def get_expected_end(job: Job, now: datetime) -> datetime | None:
    """By what a running job last said of itself: the seconds left of the stage that it is in."""
    left = (job.progress or {}).get("eta_seconds")
    if not isinstance(left, int | float) or not 0 <= left < MAX_ESTIMATE_SECONDS:
        return None
    return min(now + timedelta(seconds=left), get_latest_end(job, now))


def get_latest_end(job: Job, now: datetime) -> datetime:
    """By its time limit, which no attempt outlives; now, where that is over."""
    return max(now, (job.claimed_at or now) + timedelta(seconds=job.time_limit_seconds))


def build_fits_filter(free: FreeCapacity) -> Q:
    """The rows of Job that `free` can hold, to the last of the GPUs: k of them need the k-th largest memory.

    Whole in the database: a look at the first few rows only would let jobs that never fit here hide those that do.
    """
    gpus = Q(need_gpus=0)
    largest = sorted((gpu["memory_bytes"] for gpu in free.gpus), reverse=True)
    for count, memory in enumerate(largest, start=1):
        gpus |= Q(need_gpus=count, need_gpu_memory_bytes__lte=memory)
    extras = Q(need_extra__in=("", *free.extras), need_labels__in=list_satisfied_requests(free.labels))
    if GANG not in free.extras:
        extras &= Q(need_nodes=1)
    bound = Q(bound_to=None) if free.node_id is None else Q(bound_to=None) | Q(bound_to=free.node_id)
    return Q(need_cpus__lte=free.cpus + 1e-9, need_memory_bytes__lte=free.memory_bytes) & gpus & extras & bound


def describe_shortfall(job: Job, free: FreeCapacity) -> str:
    """Describe the resource that `free` lacks for `job`; empty if the job fits."""
    if is_bound_elsewhere(job, free.node_id):
        return _("is not the node that keeps its state")
    if missing := find_missing_extra(job, free):
        return _("lacks %(extra)s") % {"extra": missing}
    if missing := find_missing_label(job.need_labels, free.labels):
        return _("lacks the label %(label)s") % {"label": missing}
    if job.need_cpus > free.cpus + 1e-9:
        return _("needs %(need)g CPUs, %(free)g free") % {"need": job.need_cpus, "free": max(0.0, free.cpus)}
    if job.need_memory_bytes > free.memory_bytes:
        return _("needs %(need).1f GB of memory, %(free).1f GB free") % {
            "need": job.need_memory_bytes / 1e9,
            "free": max(0, free.memory_bytes) / 1e9,
        }
    if choose_devices(job, free) is None:
        return _("needs %(need)d GPU(s) with %(memory).0f GB, %(free)d free") % {
            "need": job.need_gpus,
            "memory": job.need_gpu_memory_bytes / 1e9,
            "free": len(free.gpus),
        }
    return ""


def is_bound_elsewhere(job: Job, node_id: int | None) -> bool:
    """Whether another node has the folder that the job goes on from."""
    return job.bound_to_id is not None and job.bound_to_id != node_id


def find_missing_extra(job: Job, free: FreeCapacity) -> str:
    """The extra that the job needs and the node lacks; empty if it has all."""
    needed = [job.need_extra, GANG if job.need_nodes > 1 else ""]
    return next((extra for extra in needed if extra and extra not in free.extras), "")


def explain_why_not(
    job: Job, node: Node, running: Iterable[Job], *, online: bool, reserved_for: Job | None = None
) -> str:
    """Why `job` does not start on `node` now, in words; empty if it could. `kept` is whom the node is kept for."""
    jobs = list(running)
    if job.queue not in node.queues:
        return _("does not serve the queue %(queue)s") % {"queue": job.queue}
    if is_bound_elsewhere(job, node.pk):
        return _("is not the node that keeps its state")
    if not online:
        return _("is offline: no heartbeat")
    if node.held_at:
        return describe_hold(node, len(jobs))
    if node.short_disks:
        return _("is short of disk: %(what)s") % {"what": describe_short_disks(node.short_disks)}
    if node.failed_checks:
        return _("failed required checks of its doctor: %(checks)s") % {"checks": ", ".join(node.failed_checks)}
    if missing := find_missing_extra(job, get_total_capacity(node)):
        return _("lacks %(extra)s") % {"extra": missing}
    if missing := find_missing_label(job.need_labels, node.labels):
        return _("lacks the label %(label)s") % {"label": missing}
    never = describe_shortfall(job, get_total_capacity(node))
    if never:
        return _("is too small: %(what)s") % {"what": never}
    free = compute_free_capacity(node, jobs)
    now = describe_shortfall(job, free)
    if now:
        return _("is busy: %(what)s") % {"what": now}
    if (
        reserved_for is not None
        and job.is_behind(reserved_for)
        and describe_shortfall(job, free.subtract_needs(reserved_for))
    ):
        return _("is kept free for a larger job that has waited longer")
    return ""


def describe_hold(node: Node, running: int) -> str:
    """Held and empty, or draining: what runs there goes on to its end."""
    if not running:
        return _("is held: %(reason)s") % {"reason": node.held_reason}
    text = ngettext(
        "is draining, %(count)d job still runs: %(reason)s",
        "is draining, %(count)d jobs still run: %(reason)s",
        running,
    )
    return text % {"count": running, "reason": node.held_reason}
