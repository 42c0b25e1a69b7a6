"""Which node a job fits, and why a queued job waits: pure functions over needs and capacity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from apps.jobs.models import Job
from apps.nodes.models import Node


@dataclass(frozen=True, slots=True)
class Free:
    """What a node has left beside the jobs that run on it."""

    cpus: float
    memory_bytes: int
    gpus: tuple[dict[str, Any], ...]  # those no running job holds


def free_on(node: Node, running: Iterable[Job]) -> Free:
    jobs = list(running)
    taken = {index for job in jobs for index in job.devices}
    return Free(
        cpus=node.cpus - sum(job.need_cpus for job in jobs),
        memory_bytes=node.memory_bytes - sum(job.need_memory_bytes for job in jobs),
        gpus=tuple(gpu for gpu in node.gpus if gpu["index"] not in taken),
    )


def all_of(node: Node) -> Free:
    return free_on(node, ())


def devices_for(job: Job, free: Free) -> list[int] | None:
    """Indices of free GPUs that this job would get, the smallest that suffice; None if there are too few."""
    fitting = sorted(
        (gpu for gpu in free.gpus if gpu["memory_bytes"] >= job.need_gpu_memory_bytes), key=lambda g: g["memory_bytes"]
    )
    return [gpu["index"] for gpu in fitting[: job.need_gpus]] if len(fitting) >= job.need_gpus else None


def fits(free: Free) -> Q:
    """The rows of Job that `free` can hold, to the last of the GPUs: k of them need the k-th largest memory.

    Whole in the database: a look at the first few rows only would let jobs that never fit here hide those that do.
    """
    gpus = Q(need_gpus=0)
    largest = sorted((gpu["memory_bytes"] for gpu in free.gpus), reverse=True)
    for count, memory in enumerate(largest, start=1):
        gpus |= Q(need_gpus=count, need_gpu_memory_bytes__lte=memory)
    return Q(need_cpus__lte=free.cpus + 1e-9, need_memory_bytes__lte=free.memory_bytes) & gpus


def shortfall(job: Job, free: Free) -> str:
    """What is missing for `job` in `free`, in words; empty if it fits."""
    if job.need_cpus > free.cpus + 1e-9:
        return _("needs %(need)g CPUs, %(free)g free") % {"need": job.need_cpus, "free": max(0.0, free.cpus)}
    if job.need_memory_bytes > free.memory_bytes:
        return _("needs %(need).1f GB of memory, %(free).1f GB free") % {
            "need": job.need_memory_bytes / 1e9,
            "free": max(0, free.memory_bytes) / 1e9,
        }
    if devices_for(job, free) is None:
        return _("needs %(need)d GPU(s) with %(memory).0f GB, %(free)d free") % {
            "need": job.need_gpus,
            "memory": job.need_gpu_memory_bytes / 1e9,
            "free": len(free.gpus),
        }
    return ""


def why_not(job: Job, node: Node, running: Iterable[Job], *, online: bool) -> str:
    """Why `job` does not start on `node` now, in words; empty if it could."""
    if not online:
        return _("is offline: no heartbeat")
    if node.held_at:
        return _("is held: %(reason)s") % {"reason": node.held_reason}
    if job.queue not in node.queues:
        return _("does not serve the queue %(queue)s") % {"queue": job.queue}
    never = shortfall(job, all_of(node))
    if never:
        return _("is too small: %(what)s") % {"what": never}
    now = shortfall(job, free_on(node, running))
    return _("is busy: %(what)s") % {"what": now} if now else ""
