"""Jobs that measured a version and made nothing of it: they keep neither it nor its bytes, and go by it."""

from __future__ import annotations

from django.db.models import Q

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.platform.jobs.models import Job, JobInput, JobOutput, JobQuerySet
from apps.platform.jobs.services import cancel_job
from apps.platform.jobs.states import ENDED, JobState
from apps.platform.lineage.services import forget_edges
from deepseek.messages import Message

KIND = "profile"
MEASURES = Q(job__kind=KIND, job__register={})
"""Inputs and outputs of jobs that measure what is there"""


def measurements(version: DatasetVersion) -> JobQuerySet:
    """The jobs of the project that measured its files."""
    files = DatasetFile.objects.filter(version=version).values("artifact")
    taken = JobInput.objects.filter(MEASURES, artifact__in=files, job__project=version.project_id)
    return Job.objects.filter(pk__in=taken.values("job"))


def measuring_job(version: DatasetVersion) -> Job | None:
    """The job that measures a version without a report now, or waits to; None where there is none."""
    if version.quality_id is not None:
        return None
    return measurements(version).exclude(state__in=ENDED).order_by("pk").first()


def forget_measurements(actor: Actor, version: DatasetVersion) -> list[int]:
    """Cancel those that wait, and let go of what the others took and found; within the transaction that deletes the
    version, before its files go. One that runs is left, and cites. Returns the jobs, for the record of the deletion.

    The rows of the jobs stay, and the audit trail has the digests. Bytes that another version has are measured for
    that one too: then all of it stays.
    """
    files = DatasetFile.objects.filter(version=version).values("artifact")
    elsewhere = DatasetFile.objects.filter(artifact__in=files, version__dataset__project=version.project_id)
    kept = JobInput.objects.filter(artifact__in=elsewhere.exclude(version=version).values("artifact"))
    alone = measurements(version).exclude(pk__in=kept.values("job"))
    for job in alone.exclude(state__in=(*ENDED, JobState.RUNNING)):
        cancel_job(
            actor=queuing(actor, version, "job.cancel"),
            job=job,
            reason=Message("{version} is deleted.", version=version),
        )
    gone = list(alone.filter(state__in=ENDED).values_list("pk", flat=True))
    JobInput.objects.filter(job__in=gone).delete()
    JobOutput.objects.filter(job__in=gone).delete()
    forget_edges(version.dataset.project, gone)
    return gone


def queuing(actor: Actor, version: DatasetVersion, action: str) -> Actor:
    """Who queues, or cancels, the measuring that comes with every version: the actor, else the plane. To push takes
    no right to submit jobs.
    """
    return actor if policy.is_allowed(actor, action, version) else build_plane_actor(PlaneRole.DISPATCHER)
