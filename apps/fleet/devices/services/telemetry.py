"""What devices say of themselves with every poll and heartbeat: kept in memory for seconds, and written in batches.

A poll must not cost a write. What a process that is killed had not written yet is lost: the next poll says it again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.db import Error as AnyDatabaseError
from django.db import connection, transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.devices.models import Device, DeviceTelemetry
from apps.fleet.devices.schemas import HeartbeatBody, measure_clock_offset
from apps.fleet.devices.states import Health
from apps.platform.audit.services import record

log = logging.getLogger(__name__)
FLUSH_SECONDS = 5.0
RECORD_EVERY = 60  # seconds between two records of one device's claims
ROWS_PER_STATEMENT = 500
HEARTBEAT_FIELDS = ("last_seen", "health", "running", "installed", "metrics", "clock_offset", "address")


@dataclass(slots=True)
class TelemetryBuffer:
    """What this process has not written yet. A thread writes it soon after the first of it came: no request waits."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[int, datetime] = field(default_factory=dict)
    heartbeats: dict[int, DeviceTelemetry] = field(default_factory=dict)
    is_due: bool = False  # a thread is waiting to write

    def note_seen(self, device_id: int) -> None:
        with self.lock:
            self.seen[device_id] = timezone.now()
        self.flush_soon()

    def note_heartbeat(self, row: DeviceTelemetry) -> None:
        with self.lock:
            self.heartbeats[row.pk] = row
        self.flush_soon()

    def flush_soon(self) -> None:
        if not FLUSH_SECONDS:
            self.flush()
            return
        with self.lock:
            if self.is_due:
                return
            self.is_due = True
        timer = threading.Timer(FLUSH_SECONDS, self.flush_in_thread)
        timer.daemon = True  # a process that ends does not wait for it
        timer.start()

    def flush_in_thread(self) -> None:
        try:
            self.flush()
        finally:
            connection.close()

    def flush(self) -> None:
        """Write everything. A database that is away costs what was noted, and nothing else."""
        with self.lock:
            self.is_due = False
            seen, self.seen = self.seen, {}
            heartbeats, self.heartbeats = self.heartbeats, {}
        try:
            write_heartbeats(heartbeats.values())
            write_seen({pk: at for pk, at in seen.items() if pk not in heartbeats})
        except AnyDatabaseError:
            log.warning("the telemetry of %d devices could not be kept", len(seen | heartbeats), exc_info=True)


BUFFER = TelemetryBuffer()


def write_seen(seen: dict[int, datetime]) -> None:
    """When devices were seen last: of those that are written together the latest, so that one statement does."""
    keys = sorted(seen)
    for start in range(0, len(keys), ROWS_PER_STATEMENT):
        batch = keys[start : start + ROWS_PER_STATEMENT]
        DeviceTelemetry.objects.filter(pk__in=batch).update(last_seen=max(seen[key] for key in batch))


def write_heartbeats(rows: Iterable[DeviceTelemetry]) -> None:
    DeviceTelemetry.objects.bulk_create(
        sorted(rows, key=lambda row: row.pk),
        batch_size=ROWS_PER_STATEMENT,
        update_conflicts=True,
        unique_fields=["device"],
        update_fields=list(HEARTBEAT_FIELDS),
    )


def flush_telemetry() -> None:
    """Write what this process has noted, now."""
    BUFFER.flush()


def note_poll(device_id: int) -> None:
    """A device has asked whether there is something for it."""
    BUFFER.note_seen(device_id)


def record_heartbeat(*, actor: Actor, device: Device, body: HeartbeatBody) -> datetime:
    """Keep what the device says of itself; returns the plane's time, by which alone things are judged."""
    require(actor, "device.report", device)
    now = timezone.now()
    facts: dict[str, Any] = {
        "health": Health(body.health),
        "running": body.running or "",
        "installed": body.installed or "",
        "metrics": body.metrics,
        "clock_offset": measure_clock_offset(body.clock, now),
        "address": actor.address[:45],
    }
    compare_claim(actor, device, body.running)
    BUFFER.note_heartbeat(DeviceTelemetry(device_id=device.pk, project_id=device.project_id, last_seen=now, **facts))
    return now


def compare_claim(actor: Actor, device: Device, claimed: str | None) -> None:
    """Keep whether the device says it runs another release than its last receipt.

    A device that runs nothing claims nothing. Only a receipt moves what it runs.
    """
    proved = device.running.payload_digest if device.running else ""
    mismatch = claimed if claimed and claimed != proved else ""
    if mismatch == device.mismatch:
        return
    with transaction.atomic():
        if not Device.objects.filter(pk=device.pk, mismatch=device.mismatch).update(mismatch=mismatch):
            return  # another heartbeat was faster
        record_claim(actor, device, mismatch, proved)
        device.mismatch = mismatch


def record_claim(actor: Actor, device: Device, mismatch: str, proved: str) -> None:
    """Record that what a device says it runs begins or ceases to differ from its receipts; "" for the latter.

    Each once a minute, so that a device that says something else each time floods nothing: its row has what it says.
    """
    action = "device.mismatch" if mismatch else "device.end_mismatch"
    if not cache.add(f"devices:{action}:{device.pk}", True, RECORD_EVERY):
        return
    before = {"claimed": device.mismatch}
    record(actor=actor, action=action, obj=device, before=before, after={"claimed": mismatch, "proved": proved})
