"""Jobs in every state, made by the services that make them in life."""

from __future__ import annotations

import pytest
from django.db.models.functions import Now

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.jobs import services
from apps.platform.jobs.checkpoints import get_checkpoint_area
from apps.platform.jobs.models import Job, JobCheckpoint
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.nodes.models import Node


@pytest.fixture(autouse=True)
def rung(monkeypatch):
    """The queues that were rung; nothing is published."""
    queues = []
    monkeypatch.setattr(doorbell, "ring", queues.append)
    return queues


@pytest.fixture
def node(db) -> Node:
    return make_node("n1")


def make_node(name: str, **columns) -> Node:
    facts = {"host": name, "queues": ["cpu"], "cpus": 4, "memory_bytes": 8 * 2**30} | columns
    made = Node.objects.create(name=name, **facts)
    Node.objects.filter(pk=made.pk).update(heartbeat_at=Now())
    return made


@pytest.fixture
def artifact(project) -> Artifact:
    return hold(project, "a" * 64)


@pytest.fixture
def add_node(db):
    return make_node


@pytest.fixture
def add_artifact(db):
    return hold


def hold(project, digest: str) -> Artifact:
    made = Artifact.objects.create(digest=digest, size=5)
    Holding.objects.create(project=project, artifact=made, created_by="test")
    return made


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def submit(actor_for, engineer, project):
    """submit(**asked) -> Job: a noop of the engineer, unless told otherwise."""
    actor = actor_for(engineer)

    def make(who=None, where=None, **asked) -> Job:
        asked = {"kind": "noop", "spec": {}} | asked
        return services.submit_job(actor=who or actor, project=where or project, submission=Submission(**asked))[0]

    return make


@pytest.fixture
def child_of(submit):
    """child_of(*parents) -> a job that waits for them, with the first one's note as an input."""

    def make(*parents: Job, **asked) -> Job:
        first = InputSpec(slot="x", job_id=parents[0].pk, job_slot="note")
        return submit(inputs=[first], after=[p.pk for p in parents], **asked)

    return make


@pytest.fixture
def claim(worker_actor, node):
    """claim() -> the job that a worker of node n1 now runs, or None."""

    def take(owner="w1", queue="cpu", on=None) -> Job | None:
        return services.claim_job(actor=worker_actor, node=on or node, owner=owner, queue=queue)

    return take


@pytest.fixture
def running(submit, claim) -> Job:
    submit()
    return claim()


@pytest.fixture
def succeed(worker_actor, project):
    """succeed(job, note=digest): end it with the output `note`."""

    def end(job: Job, digest: str = "b" * 64, slot: str = "note") -> Job:
        made = Artifact.objects.filter(pk=digest).first() or hold(project, digest)
        outputs = [(slot, made, "note.txt", "text/plain", {})]
        return services.succeed_job(actor=worker_actor, job=job, outputs=outputs, result={"rows": 1})

    return end


@pytest.fixture
def fail(worker_actor):
    def end(job: Job, retry: bool = False, counts: bool = True) -> Job:
        error = {"code": "broke", "message": "It broke.", "field": None, "limit": None, "hint": None}
        return services.fail_attempt(actor=worker_actor, job=job, error=error, retry=retry, counts=counts)

    return end


@pytest.fixture
def say(worker_actor):
    """say(job, *lines): log lines as the relay writes them."""

    def write(job: Job, *lines: str, level: str = "info") -> None:
        job.refresh_from_db()
        rows = [["2026-01-02T03:04:05.000+00:00", level, line] for line in lines]
        event = ("log", {"first": job.log_lines + 1, "lines": rows})
        total = job.log_lines + len(rows)
        services.report_events(actor=worker_actor, job=job, events=[event], log_lines=total)

    return write


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/jobs{tail}"


@pytest.fixture
def keep_checkpoint(worker_actor, settings, tmp_path, django_capture_on_commit_callbacks):
    """keep_checkpoint(job, step, bytes) -> JobCheckpoint, as the worker does it: stored, then recorded."""
    settings.PLANE_HOME = tmp_path

    def keep(job: Job, step: int = 1, data: bytes = b"weights") -> JobCheckpoint:
        with get_checkpoint_area(job.pk, job.attempt).open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        with django_capture_on_commit_callbacks(execute=True):
            return services.record_checkpoint(actor=worker_actor, job=job, step=step, digest=digest, size=size)

    return keep
