"""What the keeper of a node reports of the servers that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.ml.endpoints.models import Replica
from apps.platform.audit.services import change_state, record
from deepseek.messages import N_, record_messages


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One server as its keeper sees it."""

    state: str
    version_id: int | None  # key of the version that answers
    error: str = ""
    process_id: int | None = None
    started_at: datetime | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


def report_replica(*, actor: Actor, replica: Replica, report: ReplicaReport) -> None:
    """Note what the server of a replica does. Only another state or version is recorded; the rest is telemetry.

    Raises StaleState if the row is gone.
    """
    require(actor, "endpoint.report")
    error = record_messages({"message": report.error}) if report.error else {}
    telemetry = {
        "error": error,
        "process_id": report.process_id,
        "started_at": report.started_at,
        "figures": dict(report.figures),
        "last_seen": Now(),
    }
    with transaction.atomic():
        if report.state != replica.state:
            change_state(replica, report.state, actor=actor, reason=report.error)
        if report.version_id is not None and report.version_id != replica.version_id:
            record_version(actor, replica, report.version_id)
            telemetry["version_id"] = report.version_id
        Replica.objects.filter(pk=replica.pk).update(**telemetry)


def record_version(actor: Actor, replica: Replica, version_id: int) -> None:
    """Record that a server answers with another version, and by which approval."""
    endpoint = replica.endpoint
    by_key = {version.pk: version for version in (endpoint.version, endpoint.shadow_version) if version is not None}
    version = by_key.get(version_id)
    record(
        actor=actor,
        action="endpoint.serve",
        obj=endpoint,
        before={"version": replica.version.number if replica.version else None},
        after={
            "version": version.number if version else None,
            "version_id": version_id,
            "node": replica.node.name,
            "slot": replica.slot,
            "approval": endpoint.approval_id if version_id == endpoint.version_id else None,
        },
        digests={"version": version.digest} if version else {},
    )


def move_replica(*, actor: Actor, replica: Replica, port: int) -> None:
    """Give a replica another port before its first start: something else on its node has the one it was given.

    Raises StaleState where another replica was given that one meanwhile.
    """
    require(actor, "endpoint.report")
    before = replica.port
    try:
        with transaction.atomic():
            if not Replica.objects.filter(pk=replica.pk, port=before).update(port=port):
                raise build_moved_error()
            replica.port = port
            where = {"node": replica.node.name, "slot": replica.slot}
            record(
                actor=actor,
                action="endpoint.move_port",
                obj=replica.endpoint,
                before={**where, "port": before},
                after={**where, "port": port},
            )
    except IntegrityError:
        raise build_moved_error() from None


def build_moved_error() -> StaleState:
    return StaleState("The port has been given to another replica.", field="port", hint=N_("Choose another one."))


def forget_replica(*, actor: Actor, replica: Replica) -> None:
    """Free the port of a replica that is no longer wanted and whose server has ended."""
    require(actor, "endpoint.report")
    with transaction.atomic():
        if not Replica.objects.filter(pk=replica.pk, is_removed=True).delete()[0]:
            return
        record(
            actor=actor,
            action="endpoint.free_port",
            obj=replica.endpoint,
            before={"node": replica.node.name, "slot": replica.slot, "port": replica.port},
        )
