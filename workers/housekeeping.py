"""Periodic tasks: scrub the store; remove old sessions, abandoned staging files, uploads and checkpoints."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command

from apps.core.actors import PlaneRole, build_plane_actor
from apps.gateways.mlflow import services as uploads
from apps.platform.artifacts import services as artifacts
from apps.platform.audit.verification import verify_trail
from apps.platform.jobs import checkpoints

SCRUB_BYTES = 50 * 10**9  # read per round, so that an hourly round stays an hour's work of a slow disk


@shared_task(name="workers.housekeeping.scrub")
def scrub() -> None:
    artifacts.verify_stored_artifacts(actor=build_plane_actor(PlaneRole.WORKER), budget_bytes=SCRUB_BYTES)


@shared_task(name="workers.housekeeping.scrub_artifact")
def scrub_artifact(digest: str) -> None:
    """Verify one artifact, of which a client waits for a range."""
    artifacts.verify_stored_artifact(actor=build_plane_actor(PlaneRole.WORKER), digest=digest)


@shared_task(name="workers.housekeeping.verify_audit")
def verify_audit() -> None:
    """Verify the whole audit chain; the result is recorded, and shown as a status on every page."""
    verify_trail(actor=build_plane_actor(PlaneRole.OPERATOR))


@shared_task(name="workers.housekeeping.sweep_staging")
def sweep_staging() -> None:
    artifacts.sweep_staging(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.sweep_checkpoints")
def sweep_checkpoints() -> None:
    checkpoints.sweep_checkpoints(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.sweep_uploads")
def sweep_uploads() -> None:
    uploads.sweep_uploads(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.clear_sessions")
def clear_sessions() -> None:
    call_command("clearsessions")
