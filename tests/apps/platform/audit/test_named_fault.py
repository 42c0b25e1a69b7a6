"""Which faults of database and disk get which name."""

from __future__ import annotations

import errno

import pytest
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import UnreadablePostError

from apps.platform.audit.faults import translate_fault


class Driver(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


def raised(kind, text, sqlstate=None):
    error = kind(text)
    error.__cause__ = Driver(sqlstate)
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (raised(OperationalError, "database or disk is full"), "storage_full"),
        (raised(OperationalError, "could not extend file: No space left on device", "53100"), "storage_full"),
        (raised(DatabaseError, "?", "53100"), "storage_full"),
        (raised(OperationalError, "database is locked"), "database_busy"),
        (raised(OperationalError, "deadlock detected", "40P01"), "database_busy"),
        (raised(OperationalError, "interrupted"), "query_too_slow"),
        (raised(OperationalError, "canceling statement due to statement timeout", "57014"), "query_too_slow"),
        (raised(OperationalError, "attempt to write a readonly database"), "database_read_only"),
        (raised(OperationalError, "cannot execute INSERT in a read-only transaction", "25006"), "database_read_only"),
        (raised(OperationalError, "unable to open database file"), "database_unreachable"),
        (raised(OperationalError, "terminating connection", "57P01"), "database_unreachable"),
        (raised(OperationalError, 'connection to server at "db" failed: Connection refused'), "database_unreachable"),
        (raised(InterfaceError, "the connection is closed"), "database_unreachable"),
        (raised(OperationalError, "couldn't get a connection after 10.00 sec"), "database_unreachable"),
        (raised(DataError, "PostgreSQL text fields cannot contain NUL (0x00) bytes"), "nul_character"),
        (OSError(errno.ENOSPC, ""), "storage_full"),
        (OSError(errno.EDQUOT, ""), "storage_full"),
        (OSError(errno.EROFS, ""), "home_read_only"),
        (UnreadablePostError(errno.EPIPE, "The client was too slow."), "body_cut_off"),
    ],
)
def test_named(error, code):
    assert translate_fault(error).code == code


@pytest.mark.parametrize(
    "error",
    [
        raised(IntegrityError, "UNIQUE constraint failed: job.name"),
        raised(DatabaseError, "syntax error", "42601"),
        raised(OperationalError, "no such table: job"),
        FileNotFoundError(errno.ENOENT, ""),
        ValueError("database is locked"),
    ],
)
def test_a_defect_has_no_name(error):
    assert translate_fault(error) is None
