"""Retention of profile jobs: jobs that only measured a version do not cite it, and are released when it is deleted."""

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
IS_MEASUREMENT = Q(job__kind=KIND, job__register={})
"""Inputs and outputs of profile jobs that register nothing"""


def find_profile_jobs(version: DatasetVersion) -> JobQuerySet:
    """The jobs of the project that measured its files."""
    files = DatasetFile.objects.filter(version=version).values("artifact")
    inputs = JobInput.objects.filter(IS_MEASUREMENT, artifact__in=files, job__project=version.project_id)
    return Job.objects.filter(pk__in=inputs.values("job"))


def find_running_profile_job(version: DatasetVersion) -> Job | None:
    """The job that measures a version without a report now, or waits to; None where there is none."""
    if version.quality_id is not None:
        return None
    return find_profile_jobs(version).exclude(state__in=ENDED).order_by("pk").first()


def forget_measurements(actor: Actor, version: DatasetVersion) -> list[int]:
    """Cancel those that wait, and let go of what the others took and found; within the transaction that deletes the
    version, before its files go. One that runs is left, and cites. Returns the jobs, for the record of the deletion.

    The rows of the jobs stay, and the audit trail has the digests. Bytes that another version has are measured for
    that one too: then all of it stays.
    """
    files = DatasetFile.objects.filter(version=version).values("artifact")
    elsewhere = DatasetFile.objects.filter(artifact__in=files, version__dataset__project=version.project_id)
    shared = JobInput.objects.filter(artifact__in=elsewhere.exclude(version=version).values("artifact"))
    exclusive = find_profile_jobs(version).exclude(pk__in=shared.values("job"))
    for job in exclusive.exclude(state__in=(*ENDED, JobState.RUNNING)):
        cancel_job(
            actor=choose_queueing_actor(actor, version, "job.cancel"),
            job=job,
            reason=Message("{version} is deleted.", version=version),
        )
    removed = list(exclusive.filter(state__in=ENDED).values_list("pk", flat=True))
    JobInput.objects.filter(job__in=removed).delete()
    JobOutput.objects.filter(job__in=removed).delete()
    forget_edges(version.dataset.project, removed)
    return removed


def choose_queueing_actor(actor: Actor, version: DatasetVersion, action: str) -> Actor:
    """Who queues, or cancels, the measuring that comes with every version: the actor, else the plane. To push takes
    no right to submit jobs.
    """
    return actor if policy.is_allowed(actor, action, version) else build_plane_actor(PlaneRole.DISPATCHER)
