"""The triggers that keep the trail append-only, on both databases.

On SQLite a migration that rebuilds a table drops its triggers without a word. So every audit migration ends with
`RunPython(install)`, and `checks.py` refuses to start a plane that lacks one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

RECORDS, HEAD = "audit_auditrecord", "audit_chainhead"
SEALING = ("seq", "prev", "hash")
GENESIS = "0" * 64


def install(apps: Any, schema_editor: Any) -> None:
    """For RunPython, as the last operation of every audit migration."""
    install_triggers(schema_editor.connection)


def remove(apps: Any, schema_editor: Any) -> None:
    remove_triggers(schema_editor.connection)


def install_triggers(connection: BaseDatabaseWrapper) -> None:
    """Put every trigger in place, replacing what is there; safe to run again."""
    with connection.cursor() as cursor:
        for statement in [*drop_statements(connection), *get_definitions(connection).values()]:
            cursor.execute(statement)


def remove_triggers(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for statement in drop_statements(connection):
            cursor.execute(statement)


def plant_genesis(connection: BaseDatabaseWrapper) -> None:
    """The row that a sealer locks, before the first record. A flush of a test takes it away."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {HEAD} (id, seq, hash, checkpoint_seq, key_id)"  # noqa: S608
            " SELECT 1, 0, %s, 0, '' WHERE NOT EXISTS (SELECT 1 FROM audit_chainhead)",
            [GENESIS],
        )


@contextmanager
def disable_triggers(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """For tests: the database as its owner can make it."""
    remove_triggers(connection)
    try:
        yield
    finally:
        install_triggers(connection)


def find_missing_triggers(connection: BaseDatabaseWrapper) -> list[str]:
    """Names of triggers that are absent, disabled or not as we wrote them; [] when the tables do not exist yet."""
    if RECORDS not in connection.introspection.table_names():
        return []
    expected, present_triggers = get_definitions(connection), present(connection)
    return [name for name, text in expected.items() if present_triggers.get(name) != hash_statement(connection, text)]


def present(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Every audit trigger (and, on PostgreSQL, its function) that is in force, as the database has it."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit%'")
            return {name: collapse_whitespace(sql) for name, sql in cursor.fetchall()}
        cursor.execute(
            "SELECT tgname, '' FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
            " AND tgrelid IN (%s::regclass, %s::regclass)"
            " UNION ALL SELECT proname, prosrc FROM pg_proc"
            " WHERE proname LIKE 'audit%%' AND pronamespace = current_schema()::regnamespace",
            [RECORDS, HEAD],
        )
        return {name: collapse_whitespace(source) for name, source in cursor.fetchall()}


def hash_statement(connection: BaseDatabaseWrapper, statement: str) -> str:
    """What `present` shows of this statement: the text on SQLite, a function's source on PostgreSQL."""
    if connection.vendor == "sqlite":
        return collapse_whitespace(statement)
    _before, _quote, rest = statement.partition("$$")
    return collapse_whitespace(rest.rpartition("$$")[0])


def collapse_whitespace(text: str) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


def get_definitions(connection: BaseDatabaseWrapper) -> dict[str, str]:
    return (
        build_sqlite_definitions(connection)
        if connection.vendor == "sqlite"
        else build_postgres_definitions(connection)
    )


def list_other_columns(connection: BaseDatabaseWrapper) -> list[str]:
    """Every column of a record but the three that sealing sets, as the table stands now."""
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, RECORDS)
    return [column.name for column in described if column.name not in SEALING]


def build_sqlite_definitions(connection: BaseDatabaseWrapper) -> dict[str, str]:
    same = " AND ".join(f'NEW."{name}" IS OLD."{name}"' for name in list_other_columns(connection))
    # REPLACE deletes without firing a delete trigger, so both ways to it are barred: an update may not take a number
    # that is given (UPDATE OR REPLACE), an insert not an id that exists.
    unused = f"NOT EXISTS (SELECT 1 FROM {RECORDS} WHERE seq = NEW.seq)"  # noqa: S608
    linked = "NEW.seq IS NOT NULL AND NEW.prev IS NOT NULL AND NEW.hash IS NOT NULL"
    sealing = f"OLD.seq IS NULL AND {linked} AND {unused} AND {same}"
    fresh = f"NEW.seq IS NULL AND NEW.prev IS NULL AND NEW.hash IS NULL AND NOT EXISTS (SELECT 1 FROM {RECORDS} WHERE id = NEW.id)"  # noqa: S608, E501
    rules = {
        "audit_no_update": ("UPDATE", RECORDS, f"NOT ({sealing})", "audit records cannot be changed"),
        "audit_no_delete": ("DELETE", RECORDS, "1", "audit records cannot be deleted"),
        "audit_no_insert": ("INSERT", RECORDS, f"NOT ({fresh})", "audit records are written unsealed"),
        "audit_head_forward": (
            "UPDATE",
            HEAD,
            "NEW.id IS NOT OLD.id OR NEW.seq < OLD.seq OR NEW.checkpoint_seq < OLD.checkpoint_seq",
            "the head of the audit chain only moves forward",
        ),
        "audit_head_kept": ("DELETE", HEAD, "1", "the head of the audit chain cannot be deleted"),
        "audit_head_one": ("INSERT", HEAD, f"EXISTS (SELECT 1 FROM {HEAD})", "the audit chain has one head"),  # noqa: S608
    }
    return {
        name: f"CREATE TRIGGER {name} BEFORE {event} ON {table} WHEN {when} BEGIN SELECT RAISE(ABORT, '{message}'); END"
        for name, (event, table, when, message) in rules.items()
    }


def build_postgres_definitions(connection: BaseDatabaseWrapper) -> dict[str, str]:
    same = " AND ".join(f'NEW."{name}" IS NOT DISTINCT FROM OLD."{name}"' for name in list_other_columns(connection))
    refuse = "RAISE EXCEPTION '%' USING ERRCODE = 'restrict_violation'"
    record = f"""
      BEGIN
        IF TG_OP = 'INSERT' THEN
          IF NEW.seq IS NULL AND NEW.prev IS NULL AND NEW.hash IS NULL THEN RETURN NEW; END IF;
          {refuse.replace("%", "audit records are written unsealed")};
        ELSIF TG_OP = 'UPDATE' THEN
          IF OLD.seq IS NULL AND NEW.seq IS NOT NULL AND NEW.prev IS NOT NULL AND NEW.hash IS NOT NULL AND {same}
          THEN RETURN NEW; END IF;
          {refuse.replace("%", "audit records cannot be changed")};
        END IF;
        {refuse.replace("%", "audit records cannot be deleted")};
      END"""
    head = f"""
      BEGIN
        IF TG_OP = 'UPDATE' THEN
          IF NEW.id = OLD.id AND NEW.seq >= OLD.seq AND NEW.checkpoint_seq >= OLD.checkpoint_seq
          THEN RETURN NEW; END IF;
          {refuse.replace("%", "the head of the audit chain only moves forward")};
        ELSIF TG_OP = 'INSERT' THEN
          IF NOT EXISTS (SELECT 1 FROM {HEAD}) THEN RETURN NEW; END IF;
          {refuse.replace("%", "the audit chain has one head")};
        END IF;
        {refuse.replace("%", "the head of the audit chain cannot be deleted")};
      END"""  # noqa: S608
    statements = {
        name: f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"
        for name, body in (("audit_guard_record", record), ("audit_guard_head", head))
    }
    for name, table in (("record", RECORDS), ("head", HEAD)):
        call = f"EXECUTE FUNCTION audit_guard_{name}()"
        rows = f"BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW"
        statements[f"audit_{name}_rows"] = f"CREATE TRIGGER audit_{name}_rows {rows} {call}"
        statements[f"audit_{name}_truncate"] = f"CREATE TRIGGER audit_{name}_truncate BEFORE TRUNCATE ON {table} {call}"
    return statements


def drop_statements(connection: BaseDatabaseWrapper) -> list[str]:
    if connection.vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}" for name in build_sqlite_definitions(connection)]
    return [
        f"DROP TRIGGER IF EXISTS audit_{name}_{event} ON {table}"
        for name, table in (("record", RECORDS), ("head", HEAD))
        for event in ("rows", "truncate")
    ]
