"""Faults of the database and the disk, by name: what Django raises becomes a PlaneError that says what to do."""

from __future__ import annotations

import errno

from django.conf import settings
from django.db import DatabaseError, DataError, InterfaceError, OperationalError
from django.http import UnreadablePostError

from apps.core.errors import Malformed, PlaneError, StorageFull, Unavailable
from deepseek.messages import N_

FULL = ("database or disk is full", "no space left on device", "disk quota exceeded")
LOCKED = ("database is locked", "database table is locked", "deadlock detected", "could not serialize access")
READ_ONLY = ("readonly database", "read-only transaction", "read-only file system")
NUL = ("cannot contain nul", "invalid byte sequence")
UNREACHABLE = (
    "unable to open database file",
    "disk i/o error",
    "connection refused",
    "connection failed",
    "connection is bad",
    "connection is lost",
    "connection timeout",
    "server closed the connection",
    "terminating connection",
    "starting up",
    "shutting down",
    "too many clients",
    "couldn't get a connection",
    "the connection is closed",
)


def translate_fault(error: BaseException) -> PlaneError | None:
    """The named error of a full disk, a locked, read-only or unreachable database, a text that no database keeps.

    None for anything else.
    """
    if isinstance(error, OSError):
        return translate_disk_fault(error)
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    text = str(error).lower()
    state = get_sqlstate(error)
    if isinstance(error, DataError) and any(words in text for words in NUL):
        return Malformed(
            "A text holds the character NUL, which the database cannot keep.",
            code="nul_character",
            hint=N_("Leave it out."),
        )
    if state == "53100" or any(words in text for words in FULL):
        return build_storage_full_error()
    if state in {"40001", "40P01", "55P03"} or any(words in text for words in LOCKED):
        return Unavailable(
            "The database was busy for too long; nothing was written.",
            code="database_busy",
            hint=N_("Try again in a moment."),
        )
    if state == "57014" or text == "interrupted":
        seconds = f"{settings.REQUEST_SECONDS:g} s"
        return Unavailable(
            "The database needed more than {seconds} for this request; nothing was written.",
            seconds=seconds,
            code="query_too_slow",
            limit=seconds,
            hint=N_("Ask for less at once: a narrower filter, another order, fewer rows."),
        )
    if state == "25006" or any(words in text for words in READ_ONLY):
        return Unavailable(
            "The database takes no writes; nothing was changed.",
            code="database_read_only",
            hint=N_("The operator must make the plane's home, or the database server, writable again."),
        )
    lost = state.startswith(("08", "53", "57P")) or any(words in text for words in UNREACHABLE)
    if lost and isinstance(error, OperationalError | InterfaceError):
        return Unavailable(
            "The database cannot be reached; nothing was written.",
            code="database_unreachable",
            hint=N_("Try again in a moment; if it stays so, tell the operator."),
        )
    return None


def translate_disk_fault(error: OSError) -> PlaneError | None:
    if isinstance(error, UnreadablePostError):  # the client left, or was too slow
        return Malformed("The body ended early.", code="body_cut_off", hint=N_("Send it again."))
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return build_storage_full_error()
    if error.errno == errno.EROFS:
        return Unavailable(
            "The plane's home is read-only; nothing was written.",
            code="home_read_only",
            hint=N_("The operator must mount it writable again."),
        )
    return None


def build_storage_full_error() -> StorageFull:
    return StorageFull(
        "The disk is full; nothing was written.",
        hint=N_("The operator must free space. Work goes on without a restart."),
    )


def get_sqlstate(error: BaseException) -> str:
    """PostgreSQL's five letters for what happened; "" where there are none (SQLite, a lost connection)."""
    return str(getattr(error.__cause__, "sqlstate", "") or "")
