"""Look devices up by their tokens for polls: those that come at the same moment share a query.

A query costs a poll more than all else does, and a fleet's polls come side by side. One query runs at a time in a
process; whoever comes meanwhile is in the next. Nothing is kept from one query to the next, so an answer is never older
than the request. A poll that comes alone is looked up at once, by a query of its own.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from django.db import connection

from apps.core.db.fast_sql import fetch

COLUMNS = "d.token_digest, d.id, d.state, d.generation, (SELECT max(version) FROM releases_keylist)"
FIND = f"SELECT {COLUMNS} FROM devices_device d WHERE d.token_digest = %s"  # noqa: S608 - names of the code's own
FIND_SEVERAL = f"SELECT {COLUMNS} FROM devices_device d WHERE d.token_digest = ANY(%s)"  # noqa: S608 - as above
PATIENCE_SECONDS = 5.0  # that a poll waits for the query that it shares, before it asks by itself


class PollingDevice(NamedTuple):
    """What decides a poll."""

    device_id: int
    state: str
    generation: int
    keys_version: int | None


class Batch:
    """Tokens that one query looks up; the thread that brought the first of them runs it."""

    def __init__(self) -> None:
        self.digests: list[str] = []
        self.found: dict[str, PollingDevice] | None = None  # None: not asked yet, or the query failed
        self.is_over = threading.Event()


class SharedLookup:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # of `collecting`
        self.turn = threading.Lock()  # of the query
        self.collecting = Batch()

    def find(self, digest: str) -> PollingDevice | None:
        if connection.vendor != "postgresql":
            return find_alone(digest)
        with self.lock:
            batch = self.collecting
            batch.digests.append(digest)
            is_first = len(batch.digests) == 1
        if is_first:
            return self.run(batch).get(digest)
        batch.is_over.wait(PATIENCE_SECONDS)
        return find_alone(digest) if batch.found is None else batch.found.get(digest)

    def run(self, batch: Batch) -> dict[str, PollingDevice]:
        with self.turn:
            with self.lock:
                self.collecting = Batch()
            try:
                rows = fetch(FIND_SEVERAL, [batch.digests])
                batch.found = found = {row[0]: PollingDevice(*row[1:]) for row in rows}
            finally:
                batch.is_over.set()
        return found


SHARED = SharedLookup()


def find_alone(digest: str) -> PollingDevice | None:
    rows: list[tuple[Any, ...]] = fetch(FIND, [digest])
    return PollingDevice(*rows[0][1:]) if rows else None


def find_polling_device(digest: str) -> PollingDevice | None:
    """The device of this token's digest; None: there is none."""
    return SHARED.find(digest)
