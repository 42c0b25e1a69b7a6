"""An input whose bytes are damaged: marked by the worker that reads it; the same bytes again let the jobs go on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import publish_upload
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from workers import tasks

# The heartbeat writes in a thread of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

DATA = b"weights " * 300_000  # three chunks


@pytest.fixture
def damaged_job(worker, submit, project, engineer, actor_for):
    """A job that has failed as one byte of its input was flipped in the store, and one that waits for it."""
    digest = send(project, actor_for(engineer))
    job = submit(spec={"echo": "x"}, inputs=[services.InputSpec(slot="x", digest=digest)])
    after = submit(spec={"echo": "y"}, after=[job.pk])
    path = get_store().path_of(digest)
    data = bytearray(DATA)
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "artifact_damaged")
    return job, after


def send(project, actor) -> str:
    return publish_upload(actor=actor, project=project, stream=[DATA]).artifact.digest


def requeue() -> int:
    return services.requeue_repaired(actor=build_plane_actor(PlaneRole.DISPATCHER))


def test_worker_marks_the_artifact_once(damaged_job):
    artifact = Artifact.objects.exclude(damaged_at=None).get()
    assert AuditRecord.objects.filter(action="artifact.damaged", object_id=artifact.digest).count() == 1
    assert not get_store().exists(artifact.digest)  # set aside


def test_jobs_go_on_when_the_bytes_come_again(damaged_job, project, engineer, actor_for):
    job, after = damaged_job
    assert requeue() == 0
    send(project, actor_for(engineer))
    assert (requeue(), requeue()) == (1, 0)
    job.refresh_from_db()
    assert (job.state, job.attempts_used, job.error) == (JobState.QUEUED, 0, None)
    tasks.run_next("cpu")
    for one in (job, after):
        one.refresh_from_db()
    assert (job.state, after.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)


def test_an_attempt_that_failed_after_the_repair_goes_on_too(damaged_job, project, engineer, actor_for):
    """It had begun to read before."""
    job, _ = damaged_job
    send(project, actor_for(engineer))
    Job.objects.filter(pk=job.pk).update(ended_at=Artifact.objects.get().restored_at + timedelta(seconds=1))
    assert (requeue(), requeue()) == (1, 0)


def test_an_attempt_that_began_after_the_repair_waits_for_the_next(damaged_job, project, engineer, actor_for):
    job, _ = damaged_job
    send(project, actor_for(engineer))
    restored = Artifact.objects.get().restored_at
    later = {"claimed_at": restored + timedelta(seconds=1), "ended_at": restored + timedelta(seconds=2)}
    Job.objects.filter(pk=job.pk).update(**later)
    assert requeue() == 0


def test_retry_succeeds_after_the_repair(damaged_job, project, engineer, actor_for):
    job, _ = damaged_job
    send(project, actor_for(engineer))
    services.retry_job(actor=actor_for(engineer), job=job)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


def test_other_failures_are_left_alone(worker, submit, project, engineer, actor_for):
    digest = send(project, actor_for(engineer))
    job = submit(spec={"fail": "error"}, inputs=[services.InputSpec(slot="x", digest=digest)])
    tasks.run_next("cpu")
    Artifact.objects.update(restored_at="2199-01-01T00:00:00Z")
    assert requeue() == 0
    job.refresh_from_db()
    assert job.state == JobState.FAILED


def test_only_the_dispatcher_may(db, engineer, actor_for):
    with pytest.raises(Refused):
        services.requeue_repaired(actor=actor_for(engineer))
