"""Snapshots, their verification and restore drills as what a schedule of the plane submits."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.platform.calendars.targets import Body, ScheduleTarget, TargetScope
from apps.site.snapshots.destinations import choose_destination
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.services import request_drill, request_snapshot, request_verification
from apps.site.snapshots.states import OPEN_STATES, OperationKind


def parse_destination(body: Body) -> str:
    """The destination of the body, or "" for the first one. Raises Invalid."""
    for name in body:
        if name != "destination":
            raise Invalid("A snapshot has no field {name!r}.", name=name[:60], field=f"/{name}", limit="destination")
    destination = body.get("destination", "")
    if not isinstance(destination, str):
        raise Invalid("{found} is no name.", found=str(destination)[:60], field="/destination", limit="a text")
    return destination


def validate_snapshot(actor: Actor, project: None, body: Body) -> None:
    choose_destination(parse_destination(body))


def submit_snapshot(actor: Actor, project: None, body: Body, key: str) -> int:
    return request_snapshot(actor=actor, destination=parse_destination(body)).snapshot_id


def submit_verification(actor: Actor, project: None, body: Body, key: str) -> int:
    return request_verification(actor=actor, destination=parse_destination(body)).snapshot_id


def is_verification_active(pk: int) -> bool:
    return is_operation_open(pk, OperationKind.VERIFY)


def is_snapshot_active(pk: int) -> bool:
    return is_operation_open(pk, OperationKind.CREATE)


def is_drill_active(pk: int) -> bool:
    return is_operation_open(pk, OperationKind.DRILL)


def is_operation_open(pk: int, kind: OperationKind) -> bool:
    return SnapshotOperation.objects.filter(snapshot=pk, kind=kind, state__in=OPEN_STATES).exists()


def leave_snapshot(actor: Actor, pk: int, reason: str) -> None:
    """Cancel nothing: a second one waits for the first."""


def copy_snapshot_request(actor: Actor, project: None, pk: int) -> dict[str, Any]:
    snapshot = Snapshot.objects.visible_to(actor).filter(pk=pk).first()
    if snapshot is None:
        raise NotFound("There is no snapshot {number}.", number=pk, field="snapshot")
    return {"destination": snapshot.destination}


def validate_drill(actor: Actor, project: None, body: Body) -> None:
    if body:
        raise Invalid(
            "A restore drill has no field {name!r}.", name=next(iter(body))[:60], field="/", limit="an empty request"
        )


def submit_drill(actor: Actor, project: None, body: Body, key: str) -> int:
    return request_drill(actor=actor).snapshot_id


def copy_drill_request(actor: Actor, project: None, pk: int) -> dict[str, Any]:
    copy_snapshot_request(actor, project, pk)
    return {}


SNAPSHOT_TARGET = ScheduleTarget(
    label=_("Snapshot of the plane"),
    action="snapshot.create",
    validate=validate_snapshot,
    submit=submit_snapshot,
    is_active=is_snapshot_active,
    cancel=leave_snapshot,
    copy_request=copy_snapshot_request,
    url_name="snapshots:detail",
    scope=TargetScope.PLANE,
    example={"destination": ""},
)
DRILL_TARGET = ScheduleTarget(
    label=_("Restore drill"),
    action="plane.restore_drill",
    validate=validate_drill,
    submit=submit_drill,
    is_active=is_drill_active,
    cancel=leave_snapshot,
    copy_request=copy_drill_request,
    url_name="snapshots:detail",
    scope=TargetScope.PLANE,
)
VERIFICATION_TARGET = ScheduleTarget(
    label=_("Verification of the newest snapshot"),
    action="snapshot.verify",
    validate=validate_snapshot,
    submit=submit_verification,
    is_active=is_verification_active,
    cancel=leave_snapshot,
    copy_request=copy_snapshot_request,
    url_name="snapshots:detail",
    scope=TargetScope.PLANE,
    example={"destination": ""},
)
TARGETS = {"snapshot": SNAPSHOT_TARGET, "snapshot_verify": VERIFICATION_TARGET, "restore_drill": DRILL_TARGET}
"""By the word of a schedule's `target`."""
