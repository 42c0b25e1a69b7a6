"""Index of files that earlier ingests have read: their state, digest and image header, per folder.

A file with the same size, inode and times is unchanged and need not be read again. The index is a cache of this host in
PLANE_HOME/ingest: without it every file is read, with the same result.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from apps.platform.artifacts.intake import About

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    root TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, device INTEGER NOT NULL, digest TEXT NOT NULL, told TEXT NOT NULL,
    PRIMARY KEY (root, path)
) WITHOUT ROWID
"""
VERSION = 1  # counted up when the columns or what is told of a head change


class IndexedFile(NamedTuple):
    """`told`: what the head of the file told, as JSON text."""

    about: About
    digest: str
    facts_json: str

    @property
    def facts(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.facts_json) if self.facts_json else {}
        return parsed


class ScanIndex:
    def __init__(self, home: Path) -> None:
        self.path = home / "ingest" / f"seen-{VERSION}.sqlite3"

    def load(self, root: Path) -> dict[str, IndexedFile]:
        """{relative path: what was seen}; empty where there is no index, or a broken one."""
        if not self.path.exists():
            return {}
        query = "SELECT path, digest, told, size, mtime_ns, ctime_ns, inode, device FROM seen WHERE root = ?"
        try:
            with closing(sqlite3.connect(self.path, timeout=20)) as database:
                return {
                    row[0]: IndexedFile(About(*row[3:]), row[1], row[2])
                    for row in database.execute(query, (str(root),))
                }
        except sqlite3.DatabaseError:
            with suppress(OSError):
                self.path.unlink()
            return {}

    def save(self, root: Path, indexed: Mapping[str, IndexedFile], removed: Iterable[str]) -> None:
        """Add or replace what was `seen` anew, forget what is `gone`. A failure costs the next ingest some reading."""
        rows = [(str(root), path, *file.about, file.digest, file.facts_json) for path, file in indexed.items()]
        with suppress(sqlite3.Error, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(sqlite3.connect(self.path, timeout=20)) as database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute(SCHEMA)
                with database:
                    database.executemany(
                        "DELETE FROM seen WHERE root = ? AND path = ?", ((str(root), p) for p in removed)
                    )
                    database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
