"""The beat of an operation: a thread that says how far it is, and learns when the operation is another's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from django.db import Error as DatabaseError
from django.db import connection

from apps.core.actors import Actor
from apps.site.snapshots.models import SnapshotOperation
from apps.site.snapshots.services import LostOperation, report_progress

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0


class Progress:
    """Stage and bytes; every call raises LostOperation once the operation was taken away."""

    def __init__(self, actor: Actor, operation: SnapshotOperation) -> None:
        self.actor, self.operation = actor, operation
        self.stage, self.done, self.total = "start", 0, 0
        self.ending, self.is_lost = threading.Event(), False
        self.thread = threading.Thread(target=self.beat, name="snapshot-beat", daemon=True)

    def enter(self, stage: str, total: int = 0) -> None:
        self.stage, self.done, self.total = stage, 0, total
        self.check()

    def add(self, size: int) -> None:
        self.done += size
        self.check()

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.add(len(chunk))
            yield chunk

    def check(self) -> None:
        if self.is_lost:
            raise LostOperation

    def confirm(self) -> None:
        """Ask the database whether the operation is still this process's: before a step that its twin must not see."""
        report_progress(actor=self.actor, operation=self.operation, progress=self.describe())

    def describe(self) -> dict[str, Any]:
        return {"stage": self.stage, "done": self.done, "total": self.total}

    def beat(self) -> None:
        while not self.ending.wait(BEAT_SECONDS):
            try:
                report_progress(actor=self.actor, operation=self.operation, progress=self.describe())
            except LostOperation:
                self.is_lost = True
                return
            except DatabaseError as failure:  # it may be back at the next beat
                log.warning("snapshot: %s", failure)
            finally:
                connection.close()

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self.thread.join(timeout=10)
