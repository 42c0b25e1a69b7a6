"""The smoke test of a restored plane: its chain, bytes of its artifacts, and one job from end to end."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.verification import verify_trail
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import Submission
from workers.gangs.members import build_attempt
from workers.node import get_worker

SAMPLE = 100
QUEUE = "restore-drill"
"""No other job is in this queue: those of the restored plane stay where they are."""


def run_smoke_test(missing: Collection[str] = ()) -> dict[str, Any]:
    """Run it in the restored plane. Raises PlaneError for the first thing that does not hold.

    `missing`: artifacts that the store had lost before, so that the snapshot says of itself that it lacks them.
    """
    operator = build_plane_actor(PlaneRole.OPERATOR)
    trail = verify_trail(actor=operator)
    if not trail.whole:
        raise build_drill_error("The audit trail does not verify: {finding}.", finding=str(trail.finding))
    return {"sealed": trail.sealed, "artifacts": hash_sample(missing), "job": run_job()}


def hash_sample(missing: Collection[str]) -> int:
    """Hash SAMPLE artifacts chosen at random; returns how many."""
    digests = set(Artifact.objects.filter(damaged_at=None).values_list("digest", flat=True)) - set(missing)
    chosen = random.sample(sorted(digests), min(SAMPLE, len(digests)))
    store = get_store()
    for digest in chosen:
        try:
            is_right = store.verify(digest)
        except FileNotFoundError:
            is_right = False
        if not is_right:
            raise build_drill_error("The artifact {digest} is not what its name says.", digest=digest)
    return len(chosen)


def run_job() -> str:
    """Submit a job of the kind noop, and run it as a worker does; its state. Empty where the plane has no project."""
    project = Project.objects.order_by("pk").first()
    if project is None:
        return ""
    dispatcher = build_plane_actor(PlaneRole.DISPATCHER)
    submission = Submission(kind="noop", spec={"steps": 1}, name="restore drill")
    job, _is_new = services.submit_job(actor=dispatcher, project=project, submission=submission)
    Job.objects.filter(pk=job.pk).update(queue=QUEUE)
    worker = get_worker()
    claimed = services.claim_job(actor=worker.actor, node=worker.node, owner=worker.owner, queue=QUEUE)
    if claimed is None:
        raise build_drill_error("No job could be claimed: {why}.", why=describe_refusal(job.pk))
    attempt = build_attempt(claimed, actor=worker.actor)
    worker.heartbeat.watch(attempt)
    try:
        attempt.run()
    finally:
        worker.heartbeat.forget(attempt)
    job.refresh_from_db()
    if job.state != JobState.SUCCEEDED:
        raise build_drill_error("The job ended as {state}.", state=job.state)
    return str(job.state)


def describe_refusal(pk: int) -> str:
    return f"job {pk} needs more than this machine has free, or its node is held"


def build_drill_error(text: str, **params: Any) -> PlaneError:
    return PlaneError(text, code="drill_failed", field="snapshot", **params)
