"""Bundles that come in: received into quarantine, and asked to be applied. The store has nothing of them yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, Malformed
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import request_approval
from apps.platform.artifacts.services import require_room
from apps.platform.audit.services import change_state, record, seal_now
from apps.site.transfer.facts import build_bundle_facts, check_signatures, open_catalogue, parse_manifest
from apps.site.transfer.faults import BUNDLE_FAULTS, build_replay_error, convert_fault
from apps.site.transfer.folders import convert_disk_fault, get_incoming_folder
from apps.site.transfer.identity import get_applied_sequence, get_identity
from apps.site.transfer.models import IncomingBundle
from apps.site.transfer.services.outgoing import build_state_error
from apps.site.transfer.services.progress import ENDED
from apps.site.transfer.states import IncomingState
from deepseek.bundles.spec import BUNDLE_TYPE, BundleManifest
from deepseek.messages import N_
from deepseek.signing.dsse import Envelope

SUBJECT = "bundle"
PLANE_KINDS = frozenset({"image", "package", "advisories", "conflicts"})  # what belongs to the plane as a whole


def receive_envelope(*, actor: Actor, project: Project, document: object) -> IncomingBundle:
    """Begin to receive a bundle, by its signed manifest. Its volumes follow.

    Everything that the manifest alone tells is refused here: who signed, for whom, and whether it is older than what
    was applied. Raises Invalid, Conflict `bundle_replayed`, `bundle_received`.
    """
    policy.require(actor, "bundle.receive", project)
    try:
        envelope = Envelope.from_document(document)
        if envelope.payload_type != BUNDLE_TYPE:
            raise Invalid(
                "The envelope holds no bundle.", code="payload_type_wrong", field="/payloadType", limit=BUNDLE_TYPE
            )
        manifest = BundleManifest.parse(envelope.payload)
        head = manifest.head
        check_target(manifest)
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None
    check_signatures(project.pk, envelope, manifest)
    check_sequence(project.pk, manifest)
    require_room(project, manifest.size)
    try:
        with transaction.atomic():
            bundle = IncomingBundle.objects.create(
                project=project,
                bundle_id=head.id,
                source_id=head.source.id,
                source_name=head.source.name,
                sequence=head.sequence,
                manifest=manifest.text.decode(),
                manifest_digest=manifest.digest,
                envelope=envelope.to_json(),
                plane_contents=changes_plane(manifest),
                received_by=actor.label[:200],
            )
            record(
                actor=actor,
                action="bundle.receive",
                obj=bundle,
                after={"source": head.source.name, "sequence": head.sequence, "contents": len(head.contents)},
                digests={"manifest": manifest.digest},
            )
    except IntegrityError:
        raise Conflict(
            "This bundle was received already.",
            code="bundle_received",
            field="/payload",
            hint=N_("Look at the list of bundles; send the volumes that it lacks."),
        ) from None
    return bundle


def check_target(manifest: BundleManifest) -> None:
    """Raise Invalid `bundle_of_another_target` for a bundle that was built for another plane."""
    mine = get_identity()
    if manifest.head.target.id != mine.id:
        raise Invalid(
            "The bundle was built for {target}, and this plane is {mine}.",
            target=f"{manifest.head.target.name} ({manifest.head.target.id[:12]})",
            mine=f"{mine.name} ({mine.id[:12]})",
            code="bundle_of_another_target",
            field="/target",
            limit=mine.id,
            hint=N_("Build it against the inventory of this plane."),
        )


def check_sequence(project_id: int, manifest: BundleManifest) -> None:
    """Raise Conflict `bundle_replayed` unless it is newer than every bundle of its source that the project applied."""
    head, plane_contents = manifest.head, changes_plane(manifest)
    applied = get_applied_sequence(project_id, head.source.id, plane_contents=plane_contents)
    if head.sequence <= applied:
        raise build_replay_error(head.sequence, applied, head.source.name)


def changes_plane(manifest: BundleManifest) -> bool:
    """Whether it brings what belongs to the plane as a whole."""
    return any(content.kind in PLANE_KINDS for content in manifest.head.contents)


def receive_volume(*, actor: Actor, bundle: IncomingBundle, number: int, stream: Iterable[bytes]) -> bool:
    """Take a volume into quarantine; one that is there is replaced. Returns whether all of them are there now.

    Its bytes go to the disk as they come; only their number is looked at here, the rest is for the check.
    """
    policy.require(actor, "bundle.receive", bundle)
    manifest = parse_manifest(bundle)
    try:
        volume = manifest.get_volume(number)
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None
    if bundle.state == IncomingState.REFUSED:
        change_state(bundle, IncomingState.RECEIVING, actor=actor, action="bundle.receive_again", error=None)
    if bundle.state != IncomingState.RECEIVING:
        raise build_state_error(bundle.state, IncomingState.RECEIVING)
    folder = get_incoming_folder(bundle)
    staged = folder / f".{volume.name}.{os.getpid()}.{os.urandom(4).hex()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(staged, "xb") as file:
            left = volume.size
            for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    break
                file.write(chunk)
            if left:
                raise Malformed(
                    "Volume {number} has {size} bytes, and another length came.",
                    number=number,
                    size=volume.size,
                    code="body_cut_off",
                    field="Content-Length",
                    limit=volume.size,
                    hint=N_("Send it again."),
                )
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, folder / volume.name)
        IncomingBundle.objects.filter(pk=bundle.pk).update(touched_at=timezone.now())
    except OSError as error:
        raise convert_disk_fault(error) from error
    finally:
        staged.unlink(missing_ok=True)
    return not list_missing_volumes(bundle, manifest)


def list_missing_volumes(bundle: IncomingBundle, manifest: BundleManifest | None = None) -> list[int]:
    """Numbers of the volumes that are not in quarantine, or not with their length."""
    folder = get_incoming_folder(bundle)
    missing = []
    for volume in (manifest or parse_manifest(bundle)).volumes:
        try:
            present = (folder / volume.name).stat().st_size == volume.size
        except OSError:
            present = False
        if not present:
            missing.append(volume.number)
    return missing


def request_check(*, actor: Actor, bundle: IncomingBundle) -> IncomingBundle:
    """Have a worker verify, scan and compare it. Also again, where something here has changed since."""
    policy.require(actor, "bundle.receive", bundle)
    if bundle.state == IncomingState.REFUSED:
        change_state(bundle, IncomingState.RECEIVING, actor=actor, action="bundle.receive_again", error=None)
    if bundle.state not in (IncomingState.RECEIVING, IncomingState.CHECKED):
        raise build_state_error(bundle.state, IncomingState.RECEIVING)
    missing = list_missing_volumes(bundle)
    if missing and bundle.state == IncomingState.RECEIVING:
        raise Conflict(
            "Volume {number} is missing.",
            number=missing[0],
            code="volume_missing",
            field="volumes",
            limit=", ".join(map(str, missing[:20])),
            hint=N_("Send the volumes that are missing; the others may stay."),
        )
    return change_state(bundle, IncomingState.CHECKING, actor=actor, action="bundle.check", error=None, **build_reset())


def accept_plane_contents(*, actor: Actor, bundle: IncomingBundle, reason: str) -> IncomingBundle:
    """A system administrator answers for what a bundle brings to the plane as a whole: images, packages, advisories."""
    policy.require(actor, "bundle.accept_plane_contents", bundle)
    if bundle.state != IncomingState.CHECKED:
        raise build_state_error(bundle.state, IncomingState.CHECKED)
    with transaction.atomic():
        IncomingBundle.objects.filter(pk=bundle.pk).update(accepted_by=actor.label[:200], touched_at=timezone.now())
        bundle.accepted_by = actor.label[:200]
        digests = {"manifest": bundle.manifest_digest}
        record(actor=actor, action="bundle.accept_plane_contents", obj=bundle, reason=reason, digests=digests)
        seal_now()
    return bundle


def request_application(*, actor: Actor, bundle: IncomingBundle, comment: str = "") -> Approval:
    """Ask the approvers of the project to apply it, on the facts as they are now. Raises Conflict
    `bundle_conflicts` where something of it cannot come in, `bundle_needs_administrator`."""
    policy.require(actor, "bundle.request_application", bundle)
    if bundle.state != IncomingState.CHECKED:
        raise build_state_error(bundle.state, IncomingState.CHECKED)
    facts = build_bundle_facts(bundle, open_catalogue(bundle))
    if facts["preview"]["digest"] != bundle.preview.get("digest"):
        raise Conflict(
            "Something here has changed since the bundle was checked.",
            code="preview_changed",
            field="preview",
            hint=N_("Check it again, and read the preview."),
        )
    if facts["preview"]["conflicts"]:
        raise Conflict(
            "{count} things of the bundle cannot come in.",
            count=facts["preview"]["conflicts"],
            code="bundle_conflicts",
            field="preview",
            limit=0,
            hint=N_("The preview names each. Mend them here, or build a bundle without them."),
        )
    if bundle.plane_contents and not bundle.accepted_by:
        raise Conflict(
            "The bundle changes the plane as a whole, and no system administrator has accepted that.",
            code="bundle_needs_administrator",
            field="accepted_by",
            hint=N_("A system administrator accepts its images, packages and advisories on the page of the bundle."),
        )
    IncomingBundle.objects.filter(pk=bundle.pk).update(touched_at=timezone.now())  # also where it is turned down later
    return request_approval(
        actor=actor,
        project=bundle.project,
        subject_type=SUBJECT,
        subject_id=bundle.pk,
        title=f"Apply bundle {bundle.sequence} of {bundle.source_name}"[:200],
        facts=facts,
        comment=comment,
    )


def approve_bundle(*, actor: Actor, bundle: IncomingBundle, approval: Approval) -> IncomingBundle:
    """What an approval carries out: from now on a worker loads it. Its authority is the approval."""
    digests = {"manifest": bundle.manifest_digest, "facts": approval.facts_digest}
    return change_state(
        bundle,
        IncomingState.APPROVED,
        actor=actor,
        digests=digests,
        approval_id=approval.pk,
        error=None,
        **build_reset(),
    )


def build_reset() -> dict[str, Any]:
    """Fields of a bundle that somebody has just moved on: no step of it runs yet."""
    return {**ENDED, "touched_at": timezone.now()}
