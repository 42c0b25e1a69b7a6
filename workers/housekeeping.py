"""Periodic tasks: scrub the store; remove old sessions, abandoned staging files, uploads, checkpoints and bundles;
seal and remove observations; remove old notices."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command

from apps.core.actors import PlaneRole, build_plane_actor
from apps.gateways.hawkbit import services as hawkbit
from apps.gateways.mlflow import services as uploads
from apps.ml.observations import services as observations
from apps.platform.accounts import services as accounts
from apps.platform.artifacts import services as artifacts
from apps.platform.audit.verification import verify_trail
from apps.platform.emergency import services as emergency
from apps.platform.jobs import checkpoints
from apps.platform.notices import services as notices
from apps.platform.recertification import services as recertification
from apps.site.security_alarms import services as security_alarms
from apps.site.transfer import services as transfer

SCRUB_BYTES = 50 * 10**9  # read per round, so that an hourly round stays an hour's work of a slow disk


@shared_task(name="workers.housekeeping.scrub")
def scrub() -> None:
    artifacts.verify_stored_artifacts(actor=build_plane_actor(PlaneRole.WORKER), budget_bytes=SCRUB_BYTES)


@shared_task(name="workers.housekeeping.scrub_artifact")
def scrub_artifact(digest: str) -> None:
    """Verify one artifact, of which a client waits for a range."""
    artifacts.verify_stored_artifact(actor=build_plane_actor(PlaneRole.WORKER), digest=digest)


@shared_task(name="workers.housekeeping.hash_update_file")
def hash_update_file(digest: str) -> None:
    """Compute the hashes of a large file that devices wait for."""
    hawkbit.hash_stored_file(actor=build_plane_actor(PlaneRole.WORKER), digest=digest)


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


@shared_task(name="workers.housekeeping.disable_idle_accounts")
def disable_idle_accounts() -> None:
    """End the access of accounts that are past their date, or that nobody has used for INACTIVE_DAYS."""
    accounts.disable_idle_accounts(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.expire_emergency_grants")
def expire_emergency_grants() -> None:
    """Record that emergency grants are over, and requests that nobody confirmed."""
    emergency.expire_grants(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.suspend_overdue_grants")
def suspend_overdue_grants() -> None:
    """Suspend what no reviewer has decided until the due date of its campaign."""
    recertification.suspend_overdue(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.seal_observations")
def seal_observations() -> None:
    """Write what has landed of hours that are over into Parquet files."""
    observations.seal_observations(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.purge_observations")
def purge_observations() -> None:
    """Remove observations that are past the retention of their source."""
    observations.purge_observations(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.evaluate_alarm_rules")
def evaluate_alarm_rules() -> None:
    """Raise security alarms from the audit records since the last run."""
    security_alarms.evaluate_rules(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.purge_notices")
def purge_notices() -> None:
    """Remove old notices and deliveries."""
    notices.purge_notices(actor=build_plane_actor(PlaneRole.WORKER))


@shared_task(name="workers.housekeeping.sweep_bundles")
def sweep_bundles() -> None:
    """Remove bundles that were left in quarantine."""
    transfer.sweep_bundles(actor=build_plane_actor(PlaneRole.WORKER))
