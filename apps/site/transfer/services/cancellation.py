"""Steps of bundles that somebody ends or hurries, and bundles that are taken out of quarantine."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import StaleState
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import void_requests
from apps.platform.approvals.states import ApprovalState
from apps.platform.audit.services import change_state, seal_now
from apps.site.transfer.folders import get_incoming_folder, remove_folder
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from apps.site.transfer.services.incoming import SUBJECT, build_reset
from apps.site.transfer.services.outgoing import build_state_error
from apps.site.transfer.services.progress import ENDED, retry_now
from apps.site.transfer.states import IncomingState, OutgoingState

QUARANTINED = (IncomingState.RECEIVING, IncomingState.REFUSED, IncomingState.CHECKED)


def cancel_build(*, actor: Actor, bundle: OutgoingBundle) -> OutgoingBundle:
    """End a build that waits or runs. Its whole volumes stay, so that it may go on."""
    policy.require(actor, "bundle.build", bundle)
    if bundle.state != OutgoingState.QUEUED:
        raise build_state_error(bundle.state, OutgoingState.QUEUED)
    return change_state(bundle, OutgoingState.CANCELLED, actor=actor, action="bundle.cancel", error=None, **ENDED)


def cancel_step(*, actor: Actor, bundle: IncomingBundle) -> IncomingBundle:
    """End a check or a load that waits or runs. A check leaves the volumes; the approval of a load is spent. Raises
    Conflict where it has ended already."""
    policy.require(actor, "bundle.cancel", bundle)
    if bundle.state == IncomingState.CHECKING:
        return change_state(
            bundle, IncomingState.RECEIVING, actor=actor, action="bundle.cancel", error=None, **build_reset()
        )
    if bundle.state != IncomingState.APPROVED:
        raise build_state_error(bundle.state, IncomingState.APPROVED)
    with transaction.atomic():
        digests = {"manifest": bundle.manifest_digest}
        change_state(
            bundle,
            IncomingState.CHECKED,
            actor=actor,
            action="bundle.cancel",
            reason=f"approval {bundle.approval_id}",
            digests=digests,
            error=None,
            **build_reset(),
        )
        seal_now()
    return bundle


def retry_step(*, actor: Actor, bundle: IncomingBundle) -> IncomingBundle:
    """Let a worker take a check or a load at once that waits for its next try."""
    policy.require(actor, "bundle.receive", bundle)
    if bundle.state not in (IncomingState.CHECKING, IncomingState.APPROVED):
        raise build_state_error(bundle.state, IncomingState.CHECKING)
    return retry_now(actor, bundle)


def discard_bundle(*, actor: Actor, bundle: IncomingBundle, reason: str = "") -> IncomingBundle:
    """Remove it from quarantine; the row stays. A request to apply it ends."""
    policy.require(actor, "bundle.discard", bundle)
    if bundle.state not in QUARANTINED:
        raise build_state_error(bundle.state, IncomingState.CHECKED)
    with transaction.atomic():
        change_state(bundle, IncomingState.DISCARDED, actor=actor, reason=reason, action="bundle.discard")
        # The plane's own act: a token that may discard is not asked for the scope of approvals besides.
        void_requests(
            actor=build_plane_actor(PlaneRole.DISPATCHER),
            project=bundle.project,
            subject_type=SUBJECT,
            subject_id=bundle.pk,
            reason=f"The bundle was discarded by {actor.label}.",
        )
    remove_folder(get_incoming_folder(bundle))
    return bundle


def discard_abandoned(actor: Actor, bundle: IncomingBundle, oldest: datetime) -> bool:
    """Discard a bundle that nobody has touched since `oldest` and nobody is asked about; whether it was."""
    pending = Approval.objects.filter(project=bundle.project_id, subject_type=SUBJECT, subject_id=str(bundle.pk))
    if pending.filter(state=ApprovalState.PENDING).exists():
        return False
    reason = f"Nobody has touched it since {oldest:%Y-%m-%d}."
    try:
        change_state(
            bundle,
            IncomingState.DISCARDED,
            actor=actor,
            reason=reason,
            action="bundle.discard",
            guard={"touched_at": bundle.touched_at},
        )
    except StaleState:  # somebody was faster
        return False
    remove_folder(get_incoming_folder(bundle))
    return True
