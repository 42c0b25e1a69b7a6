"""What a device runs: by its signed receipt, and of a stock client without a key by its word.

Only this makes an assignment succeed and moves a device's running release.
"""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, PlaneError, Refused
from apps.core.policy import require
from apps.core.request_values import MAX_INT64, parse_int
from apps.fleet.devices.errors import build_closed_error
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.services.assignments import end, start_waiting
from apps.fleet.devices.services.counts import move_count
from apps.fleet.devices.services.locks import bump_generation, lock_device
from apps.fleet.devices.services.telemetry import record_claim
from apps.fleet.devices.states import OPEN, AssignmentState, DeviceKind
from apps.fleet.releases.models import Release
from apps.platform.audit.services import record, record_refusal
from deepseek.messages import N_, Message
from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import decode_public_key
from deepseek.signing.statements import Receipt, verify_receipt

RECORD_EVERY = 60  # seconds


def record_receipt(*, actor: Actor, device: Device, document: dict[str, Any]) -> Device:
    """Take a receipt: the device runs the release that it names, and the assignment of it has succeeded.

    A receipt of a release before the newest assignment's says that the device fell back from that one. The last receipt
    again, byte by byte, changes nothing. Raises Invalid for one that is not the device's own or names what it cannot
    run, Conflict `receipt_replayed`; each is recorded.
    """
    require(actor, "device.report", device)
    try:
        receipt, envelope = read_receipt(device, document)
        with transaction.atomic():
            locked = lock_device(device)
            if is_repeated(locked, receipt, envelope):
                return locked
            release = find_release(locked, receipt)
            assignment = find_assignment(locked, receipt)
            locked.receipt_counter, locked.receipt_digest = receipt.counter, envelope.digest
            locked.agent_version = receipt.agent_version
            locked.save(update_fields=["receipt_counter", "receipt_digest", "agent_version"])
            digests = {"receipt": envelope.digest, "release": release.payload_digest}
            move_running(actor, locked, release, digests)
            settle(actor, locked, release, assignment, envelope.to_json(), digests)
            return locked
    except PlaneError as failure:
        record_receipt_refusal(actor, device, failure)
        raise


def record_receipt_refusal(actor: Actor, device: Device, failure: PlaneError) -> None:
    """Keep that a device sent what does not count: of each kind once a minute, so that it floods nothing."""
    if not cache.add(f"devices:receipt:{device.pk}:{failure.code}", True, RECORD_EVERY):
        return
    about: dict[str, Any] = {"project_id": device.project_id, "object_type": "device", "object_id": device.pk}
    record_refusal(actor, Refused(failure.message, code=failure.code, action="device.send_receipt", **about))


def read_receipt(device: Device, document: dict[str, Any]) -> tuple[Receipt, Envelope]:
    """The receipt, signed by the device's own key and about itself."""
    if not device.public_key:
        raise Invalid("The device {name} has no key.", name=device.name, code="device_without_key", field="/envelope")
    try:
        envelope = Envelope.from_document(document)
        receipt = verify_receipt(envelope, decode_public_key(device.public_key))
    except SigningError as error:
        field = f"/envelope{error.field}" if error.field else "/envelope"
        raise Invalid(error.message, code=error.code, field=field, limit=error.limit, hint=error.hint) from None
    found = (receipt.device, receipt.project)
    expected = (str(device.pk), device.project.slug)
    if found != expected:
        raise Invalid(
            "The receipt is of the device {found}, and the device {expected} sent it.",
            found=" ".join(found),
            expected=" ".join(expected),
            code="receipt_of_another",
            field="/envelope/payload/device",
            limit=expected[0],
            hint=N_("Enrol again: the device has another device's home."),
        )
    return receipt, envelope


def is_repeated(device: Device, receipt: Receipt, envelope: Envelope) -> bool:
    """Whether it is the last receipt once more. Raises Conflict for an older one, or another of the same counter."""
    if receipt.counter > device.receipt_counter:
        return False
    if receipt.counter == device.receipt_counter and envelope.digest == device.receipt_digest:
        return True
    raise Conflict(
        "The receipt has the counter {counter}, and {last} has come.",
        counter=receipt.counter,
        last=device.receipt_counter,
        code="receipt_replayed",
        field="/envelope/payload/counter",
        limit=device.receipt_counter + 1,
        hint=N_("Drop it: a later one has told more."),
    )


def find_release(device: Device, receipt: Receipt) -> Release:
    """The release that the receipt names, of the device's project and with the bytes that it names."""
    rows = Release.objects.select_related("variant").filter(project_id=device.project_id)
    release = rows.filter(payload_digest=receipt.release).first()
    if release is None:
        raise Invalid(
            "The project has no release {digest}...",
            digest=receipt.release[:12],
            code="release_unknown",
            field="/envelope/payload/release",
            limit="the digest of a release of this project",
        )
    if release.variant.artifact_id != receipt.variant:
        raise Invalid(
            "The receipt names other bytes than the release.",
            code="receipt_wrong_variant",
            field="/envelope/payload/variant",
            limit=release.variant.artifact_id,
            hint=N_("Look at the device: it may run something else than it says."),
        )
    return release


def find_assignment(device: Device, receipt: Receipt) -> Assignment | None:
    """The device's own assignment that the receipt names; None where a release was carried in."""
    if not receipt.assignment:
        return None
    number = parse_int(receipt.assignment, 1, MAX_INT64)
    assignment = device.assignments.filter(pk=number).select_related("release").first() if number else None
    if assignment is None:
        raise Invalid(
            "The device has no assignment {number!r}.",
            number=receipt.assignment[:40],
            code="assignment_unknown",
            field="/envelope/payload/assignment",
            limit="one of its own",
        )
    return assignment


def move_running(actor: Actor, device: Device, release: Release | None, digests: dict[str, str]) -> None:
    """Let the device run the release, in its row and in the counts; a restart of the same one is no news.

    None: nothing that a receipt vouches for.
    """
    before, after = device.running_id, release.pk if release else None
    if before == after:
        return
    device.running, device.running_since = release, timezone.now() if release else None
    if release and device.mismatch == release.payload_digest:
        record_claim(actor, device, "", release.payload_digest)
        device.mismatch = ""
    device.save(update_fields=["running", "running_since", "mismatch"])
    move_count(device.project_id, (device.state, before or 0), (device.state, after or 0))
    record(
        actor=actor,
        action="device.run",
        obj=device,
        before={"release": before},
        after={"release": after},
        digests=digests,
    )


def settle(
    actor: Actor,
    device: Device,
    release: Release,
    assignment: Assignment | None,
    receipt: str,
    digests: dict[str, str],
) -> None:
    """Move the assignments that a receipt tells of."""
    rows = device.assignments.exclude(state=AssignmentState.WAITING).select_related("release")
    newest = rows.order_by("-pk").first()
    target = assignment or newest
    if target is not None and target.release_id == release.pk and target.state != AssignmentState.SUCCEEDED:
        fields: dict[str, Any] = {"receipt": receipt, "is_signed": bool(receipt)}
        to, action = AssignmentState.SUCCEEDED, "device.install"
        end(target, to, actor=actor, action=action, by_device=True, digests=digests, **fields)
    if newest is not None and is_fall_back(newest, release, assignment):
        reason = Message("A receipt came from the release before it.")
        to, action = AssignmentState.ROLLED_BACK, "device.rolled_back"
        end(newest, to, actor=actor, action=action, reason=reason, by_device=True, digests=digests, receipt=receipt)
    start_waiting(actor, device)
    bump_generation(device)


def is_fall_back(newest: Assignment, release: Release, named: Assignment | None) -> bool:
    """Whether a device that runs `release` has left the release of its newest assignment again.

    One that starts anew while that is being installed has not; it names the assignment that it runs.
    """
    if release.model_name != newest.release.model_name or release.sequence >= newest.release.sequence:
        return False
    if newest.state == AssignmentState.SUCCEEDED:
        return True
    return named is not None and named.pk == newest.pk and newest.state in (*OPEN, AssignmentState.FAILED)


def record_unsigned_result(
    *, actor: Actor, device: Device, assignment: Assignment, succeeded: bool, message: str = "", code: str = ""
) -> Assignment:
    """The end of an assignment as a stock client without a key reports it: its word is taken, and marked as that.

    The same end again changes nothing. Raises Conflict `assignment_closed`, Invalid `device_with_key` for an agent.
    """
    require(actor, "device.report", device)
    if device.kind != DeviceKind.HAWKBIT:
        raise Invalid("An agent sends a receipt.", code="device_with_key", field="state")
    to = AssignmentState.SUCCEEDED if succeeded else AssignmentState.FAILED
    with transaction.atomic():
        locked = lock_device(device)
        row = locked.assignments.select_related("release").get(pk=assignment.pk)
        if row.state == to:
            return row
        if row.state not in OPEN or row.state == AssignmentState.WAITING:
            raise build_closed_error(row)
        action = "device.install" if succeeded else "device.failed"
        end(row, to, actor=actor, action=action, reason=message, code=code, by_device=True)
        if succeeded:
            move_running(actor, locked, row.release, {"release": row.release.payload_digest})
        start_waiting(actor, locked)
        bump_generation(locked)
    return row
