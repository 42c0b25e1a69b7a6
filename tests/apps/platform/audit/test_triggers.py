"""The database refuses what the trail forbids, and the plane does not start without that."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.db import Error, connection, transaction

from apps.platform.audit.checks import check_audit_triggers
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.triggers import find_missing_triggers, install_triggers, remove_triggers

pytestmark = [pytest.mark.django_db, pytest.mark.services]

SEALED = "UPDATE audit_auditrecord SET seq = 99, prev = 'a', hash = 'b'"
FORBIDDEN = [
    "UPDATE audit_auditrecord SET body = 'x'",
    "UPDATE audit_auditrecord SET actor = 'x'",
    "UPDATE audit_auditrecord SET project_id = 4 WHERE seq IS NULL",
    f"{SEALED} WHERE seq = 3",
    f"{SEALED}, body = 'x' WHERE seq IS NULL",
    f"{SEALED}, actor = 'x' WHERE seq IS NULL",
    "UPDATE audit_auditrecord SET seq = 99 WHERE seq IS NULL",
    "UPDATE audit_auditrecord SET seq = NULL WHERE seq = 3",
    "DELETE FROM audit_auditrecord WHERE seq = 3",
    "DELETE FROM audit_auditrecord WHERE seq IS NULL",
    "DELETE FROM audit_chainhead",
    "UPDATE audit_chainhead SET seq = 1",
    "UPDATE audit_chainhead SET id = 2",
    "INSERT INTO audit_chainhead (id, seq, hash, checkpoint_seq, key_id) VALUES (2, 0, '', 0, '')",
]
SQLITE = [
    "INSERT OR REPLACE INTO audit_auditrecord SELECT * FROM audit_auditrecord WHERE seq IS NULL",
    "UPDATE OR REPLACE audit_auditrecord SET seq = 3, prev = 'a', hash = 'b' WHERE seq IS NULL",
]
POSTGRES = ["TRUNCATE audit_auditrecord", "TRUNCATE audit_chainhead", "TRUNCATE audit_auditrecord, audit_chainhead"]


def content() -> list:
    return list(AuditRecord.objects.order_by("pk").values_list())


def test_forbidden_statements_are_refused(chain, write):
    write(1)
    before = content()
    for statement in FORBIDDEN + (SQLITE if connection.vendor == "sqlite" else POSTGRES):
        try:
            with pytest.raises(Error, match="audit"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        except pytest.fail.Exception:
            pytest.fail(f"not refused: {statement}")
        assert content() == before, statement


def test_a_record_cannot_be_born_sealed(chain):
    row = chain[0]
    row.pk, row.seq = None, 11
    with pytest.raises(Error, match="unsealed"), transaction.atomic():
        row.save(force_insert=True)


def test_the_sealing_update_passes_once(write):
    (row,) = write(1)
    with connection.cursor() as cursor:
        cursor.execute(f"{SEALED} WHERE id = %s", [row.pk])
        assert cursor.rowcount == 1
        with pytest.raises(Error), transaction.atomic():
            cursor.execute(f"{SEALED} WHERE id = %s", [row.pk])


def test_the_check_passes_with_every_trigger():
    assert check_audit_triggers(databases=["default"]) == []
    assert check_audit_triggers(databases=None) == []


WEAKENED = {
    "sqlite": (
        "audit_no_delete",
        "DROP TRIGGER audit_no_delete",
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_auditrecord BEGIN SELECT 1; END",
    ),
    "postgresql": (
        "audit_guard_record",
        "ALTER FUNCTION audit_guard_record() RENAME TO forgotten",
        "CREATE FUNCTION audit_guard_record() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ),
}


def test_the_check_names_what_is_gone_or_weakened():
    name, drop, weaken = WEAKENED[connection.vendor]
    for statement in (drop, weaken):
        with connection.cursor() as cursor:
            cursor.execute(statement)
        assert find_missing_triggers(connection) == [name]
    assert [error.id for error in check_audit_triggers(databases=["default"])] == ["audit.E001"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="PostgreSQL can disable a trigger and keep it")
def test_a_disabled_trigger_is_missing():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditrecord DISABLE TRIGGER audit_record_rows")
    assert find_missing_triggers(connection) == ["audit_record_rows"]


def test_all_gone_then_restored_and_recorded():
    remove_triggers(connection)
    gone = find_missing_triggers(connection)
    assert len(check_audit_triggers(databases=["default"])) == len(gone) > 3
    call_command("restore_audit_triggers", stdout=io.StringIO())
    assert find_missing_triggers(connection) == []
    assert AuditRecord.objects.get(action="audit.restore_triggers").seq is None


def test_installing_again_changes_nothing():
    install_triggers(connection)
    assert find_missing_triggers(connection) == []
