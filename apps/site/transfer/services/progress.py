"""How far a step of a bundle has come, what ends it early, and what happens after a fault of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Unavailable
from apps.platform.audit.services import record
from apps.site.transfer.faults import build_error_document
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from deepseek.messages import N_

B = TypeVar("B", OutgoingBundle, IncomingBundle)
WRITE_SECONDS = 1.0  # between two writes of a row
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
ENDED: dict[str, Any] = {"progress": {}, "faults": 0, "retry_at": None}
"""Fields of a bundle whose step has ended, whatever came of it."""


class StepCancelled(Exception):
    """The bundle has left the state of the step, which somebody cancelled; or this process ends."""


class StepProgress:
    """Stage, bytes done and bytes in all, written to the row at most once a second. Telemetry: not recorded.

    Every call raises StepCancelled once the bundle is not in the state any more in which the step began.
    """

    def __init__(self, bundle: OutgoingBundle | IncomingBundle, stopping: Callable[[], bool] = lambda: False) -> None:
        self.rows = type(bundle)._default_manager.filter(pk=bundle.pk, state=bundle.state)
        self.stopping = stopping
        self.stage, self.done, self.total = "", 0, 0
        self.stage_at = timezone.now()
        self.written = 0.0

    def enter(self, stage: str, total: int = 0) -> None:
        self.stage, self.done, self.total, self.stage_at = stage, 0, total, timezone.now()
        self.write()

    def add(self, size: int) -> None:
        self.done += size
        if time.monotonic() - self.written >= WRITE_SECONDS:
            self.write()

    def check(self) -> None:
        """Look whether the step goes on, while there is nothing to count."""
        self.add(0)

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.add(len(chunk))
            yield chunk

    def write(self) -> None:
        if self.stopping():
            raise StepCancelled
        self.written = time.monotonic()
        row = {
            "stage": self.stage,
            "done": min(self.done, self.total) if self.total else self.done,
            "total": self.total,
            "since": self.stage_at.isoformat(),
            "at": timezone.now().isoformat(),
        }
        if not self.rows.update(progress=row):
            raise StepCancelled


def postpone(actor: Actor, bundle: OutgoingBundle | IncomingBundle, error: PlaneError) -> None:
    """Leave the bundle in its state where the machine is at fault: the step is tried again after a minute, then after
    twice as long each time, up to an hour. The reason is on its row, and recorded when it is a new one."""
    state = bundle.state
    bundle.refresh_from_db()
    if bundle.state != state:
        return
    document = build_error_document(error)
    is_new, faults = bundle.error != document, bundle.faults + 1
    pause = min(FIRST_PAUSE * 2 ** min(bundle.faults, 10), LONGEST_PAUSE)
    fields: dict[str, Any] = {"error": document, "faults": faults, "retry_at": timezone.now() + pause, "progress": {}}
    with transaction.atomic():
        if type(bundle)._default_manager.filter(pk=bundle.pk, state=state).update(**fields) and is_new:
            digests = {"manifest": bundle.manifest_digest}
            record(actor=actor, action="bundle.postpone", obj=bundle, reason=error.message, digests=digests)
    for name, value in fields.items():
        setattr(bundle, name, value)


def retry_now(actor: Actor, bundle: B) -> B:
    """Let a worker take a postponed step at once."""
    with transaction.atomic():
        rows = type(bundle)._default_manager.filter(pk=bundle.pk, state=bundle.state, retry_at__isnull=False)
        if rows.update(retry_at=None, faults=0):
            record(actor=actor, action="bundle.retry", obj=bundle)
    bundle.refresh_from_db()
    return bundle


def build_unexpected_error(error: Exception) -> PlaneError:
    """A fault that no step foresees: its type alone, since its text may quote what was sent."""
    return Unavailable(
        "The step could not go on: {fault}.",
        fault=type(error).__name__,
        code="bundle_fault",
        hint=N_("The log of the worker has the details. Cancel it, or wait for the next try."),
    )
