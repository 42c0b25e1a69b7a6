"""Snapshots as people ask for them: who may, what is refused, and how operations are claimed and recovered."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, PlaneError, Refused, StaleState
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import Notice
from apps.site.snapshots import queries, services
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.services.requests import queue, refuse_second
from apps.site.snapshots.states import OperationKind
from tests.apps.site.snapshots.conftest import DISPATCHER, store_snapshot

pytestmark = pytest.mark.django_db


def list_actions() -> list[str]:
    return list(AuditRecord.objects.order_by("id").values_list("action", flat=True))


def test_snapshot_is_queued_run_and_recorded(actor):
    snapshot = store_snapshot(actor)
    assert (snapshot.state, snapshot.destination, snapshot.artifacts, snapshot.audit_seq) == ("stored", "main", 3, 7)
    expected = ["snapshot.create", "snapshotoperation.running", "snapshot.stored", "snapshotoperation.succeeded"]
    assert [action for action in list_actions() if action.startswith("snapshot")] == expected
    assert queries.get_recovery_status(actor).newest == snapshot


def test_second_one_meanwhile_is_a_conflict(actor):
    services.request_snapshot(actor=actor)
    services.request_snapshot(actor=actor, destination="vault")
    with pytest.raises(Conflict) as caught:
        services.request_snapshot(actor=actor)
    assert caught.value.code == "snapshot_operation_open"


def test_two_requests_at_the_same_moment_queue_one(actor):
    """Neither sees the row of the other before it is written: the database refuses the second."""
    snapshot = store_snapshot(actor)
    cells = {
        OperationKind.CREATE: {"destination": "main"},
        OperationKind.DRILL: {"destination": "main"},
        OperationKind.VERIFY: {"snapshot": snapshot.pk},
        OperationKind.REMOVE: {"snapshot": snapshot.pk},
    }

    def queue_twice(kind, scope):
        with refuse_second(kind, **scope):
            queue(actor, snapshot, kind)
            with transaction.atomic():
                queue(actor, snapshot, kind)

    for kind, scope in cells.items():
        with pytest.raises(Conflict) as caught:
            queue_twice(kind, scope)
        first = SnapshotOperation.objects.get(kind=kind, state="queued")
        assert (caught.value.code, f"Operation {first.pk} " in str(caught.value)) == ("snapshot_operation_open", True)


def test_unknown_destination_names_those_there_are(actor, settings):
    with pytest.raises(Invalid) as caught:
        services.request_snapshot(actor=actor, destination="elsewhere")
    assert (caught.value.field, caught.value.limit) == ("destination", "main, vault")
    settings.ENV = settings.ENV.model_copy(update={"snapshot_destinations": []})
    with pytest.raises(Conflict) as caught:
        services.request_snapshot(actor=actor)
    assert caught.value.code == "snapshot_destination_missing"


def test_roles(request, actor, actor_for):
    snapshot = store_snapshot(actor)
    calls = {
        "create": lambda actor: services.request_snapshot(actor=actor, destination="vault"),
        "verify": lambda actor: services.request_verification(actor=actor, snapshot=snapshot),
        "drill": lambda actor: services.request_drill(actor=actor),
        "remove": lambda actor: services.request_removal(actor=actor, snapshot=snapshot),
        "claim": lambda actor: services.claim_operation(actor=actor),
    }
    allowed = []
    for name in "engineer", "approver", "auditor", "secadmin":
        for call, work in calls.items():
            try:
                work(actor_for(request.getfixturevalue(name)))
                allowed.append((name, call))
            except Refused:
                pass
    assert allowed == []
    assert not queries.Snapshot.objects.visible_to(actor_for(request.getfixturevalue("engineer"))).exists()


def test_what_is_not_stored_cannot_be_read(actor):
    operation = services.request_snapshot(actor=actor)
    for work in services.request_verification, services.request_drill, services.request_removal:
        with pytest.raises(Conflict) as caught:
            work(actor=actor, snapshot=operation.snapshot)
        assert caught.value.code == "snapshot_not_stored"
    with pytest.raises(Conflict) as caught:
        services.request_drill(actor=actor)
    assert caught.value.code == "snapshot_missing"


def test_one_operation_writes_to_a_destination(actor):
    snapshot = store_snapshot(actor)
    first = services.request_snapshot(actor=actor)
    services.request_verification(actor=actor, snapshot=snapshot)
    assert services.claim_operation(actor=DISPATCHER).pk == first.pk
    assert services.claim_operation(actor=DISPATCHER) is None
    other = services.request_snapshot(actor=actor, destination="vault")
    assert services.claim_operation(actor=DISPATCHER).pk == other.pk


def test_lost_process_is_queued_again_and_its_twin_writes_nothing(actor):
    services.request_snapshot(actor=actor)
    for attempt in 1, 2, 3:
        operation = services.claim_operation(actor=DISPATCHER)
        assert operation.attempt == attempt
        SnapshotOperation.objects.update(beat_at=timezone.now() - timedelta(minutes=5))
        assert services.recover_operations(actor=DISPATCHER) == 1
        with pytest.raises(services.LostOperation):
            services.report_progress(actor=DISPATCHER, operation=operation, progress={})
        with pytest.raises(StaleState):
            services.finish_operation(actor=DISPATCHER, operation=operation)
    operation.refresh_from_db()
    assert (operation.state, operation.error["code"]) == ("failed", "snapshot_process_lost")
    assert Snapshot.objects.get().state == "failed"


def test_restored_plane_ends_what_was_open(actor, actor_for, secadmin):
    stored = store_snapshot(actor)
    services.request_snapshot(actor=actor)
    running = services.claim_operation(actor=DISPATCHER)
    queued = services.request_verification(actor=actor, snapshot=stored)
    with pytest.raises(Refused):
        services.fail_restored_operations(actor=actor_for(secadmin))
    assert services.fail_restored_operations(actor=DISPATCHER) == 2
    assert services.fail_restored_operations(actor=DISPATCHER) == 0
    for operation in running, queued:
        operation.refresh_from_db()
        assert (operation.state, operation.error["code"]) == ("failed", "snapshot_restored")
    assert dict(Snapshot.objects.values_list("pk", "state")) == {stored.pk: "stored", running.snapshot_id: "failed"}
    with pytest.raises(services.LostOperation):
        services.report_progress(actor=DISPATCHER, operation=running, progress={})
    services.request_snapshot(actor=actor)


def test_failure_keeps_its_reason_and_no_stranger_text(actor):
    services.request_snapshot(actor=actor)
    operation = services.claim_operation(actor=DISPATCHER)
    services.finish_operation(actor=DISPATCHER, operation=operation, error=OSError("s3://user:password@host"))
    operation.refresh_from_db()
    assert operation.error["code"] == "snapshot_fault"
    assert "password" not in str(operation.error)
    cells = {
        "No space left": OSError(28, "s3://user:password@host"),
        "is full": sqlite3.OperationalError("disk is full"),
    }
    for words, error in cells.items():
        assert words in services.operations.describe_error(error)["message"]
    services.request_snapshot(actor=actor)
    operation = services.claim_operation(actor=DISPATCHER)
    error = PlaneError("No {what}.", what="room", code="full", hint="Make some.")
    services.finish_operation(actor=DISPATCHER, operation=operation, error=error)
    operation.refresh_from_db()
    assert (operation.error["message"], operation.error["hint"]) == ("No room.", "Make some.")


def test_verification_moves_the_state_and_back_and_administrators_are_notified(actor, sysadmin, secadmin):
    snapshot = store_snapshot(actor)
    for _ in range(2):
        services.record_verification(actor=DISPATCHER, snapshot=snapshot, damaged=["ab"])
    assert (snapshot.state, snapshot.damaged) == ("damaged", ["ab"])
    notice = Notice.objects.get()
    assert (notice.kind, notice.recipient, notice.path) == ("snapshot.damaged", sysadmin, f"/snapshots/{snapshot.pk}")
    assert notice.read_at is None
    services.record_verification(actor=DISPATCHER, snapshot=snapshot, damaged=[])
    assert Notice.objects.get().read_at is not None
    services.record_verification(actor=DISPATCHER, snapshot=snapshot, damaged=[])
    snapshot.refresh_from_db()
    assert (snapshot.state, snapshot.damaged) == ("stored", [])
    assert list_actions().count("snapshot.verified") == 4


def test_retention_keeps_the_newest_and_the_last_that_was_tried(actor):
    snapshots = [store_snapshot(actor) for _ in range(4)]
    drill = services.request_drill(actor=actor, snapshot=snapshots[0])
    drill = services.claim_operation(actor=DISPATCHER, pk=drill.pk)
    services.finish_operation(actor=DISPATCHER, operation=drill, result={"rto_seconds": 3.0, "rpo_seconds": 9.0})
    removed = services.trim_snapshots(actor=DISPATCHER, destination="main", keep=2)
    assert [operation.snapshot_id for operation in removed] == [snapshots[1].pk]
    assert services.trim_snapshots(actor=DISPATCHER, destination="main", keep=2) == []
    status = queries.get_recovery_status(actor)
    assert (status.rto_seconds, status.rpo_seconds, status.drilled_at is None) == (3.0, 9.0, False)
    assert queries.get_snapshot(actor, snapshots[0].pk).drill_state == "succeeded"


def test_doctor_reads_snapshots_and_drills_that_passed(actor):
    from apps.platform.nodes.health.queries import describe_backup

    assert describe_backup() == {"made_at": None, "drilled_at": None}
    snapshot = store_snapshot(actor)
    services.record_drill(actor=actor, snapshot=snapshot, passed=False, figures={})
    assert describe_backup()["made_at"] is not None
    assert describe_backup()["drilled_at"] is None
    services.record_drill(actor=actor, snapshot=snapshot, passed=True, figures={"rto_seconds": 4})
    assert describe_backup()["drilled_at"] is not None
