"""How much each account downloads, in few audit records: a rule over the trail raises the alarm."""

from __future__ import annotations

import threading

from django.db import transaction

from apps.core.actors import Actor
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.services import record

RECORD_BYTES = 16 << 20
"""A record stands for at least so much: thousands of small downloads must not be a write each. What remains below it
is lost where a process ends, which is little beside the volumes of an alarm."""
COUNTED_KINDS = frozenset({"user", "service_account"})  # devices and nodes fetch what they are given
ACTION = "artifact.download"


class DownloadCounter:
    """Bytes and downloads of each account since its last record, of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.totals: dict[str, tuple[int, int]] = {}

    def add(self, label: str, size: int) -> tuple[int, int] | None:
        """(bytes, downloads) that are to be recorded now, or None while they are few."""
        with self.lock:
            total, count = self.totals.get(label, (0, 0))
            total, count = total + size, count + 1
            if total < RECORD_BYTES:
                self.totals[label] = total, count
                return None
            self.totals.pop(label, None)
            return total, count


COUNTER = DownloadCounter()


def count_download(actor: Actor | None, artifact: Artifact, size: int) -> None:
    """Count `size` bytes that are about to be sent, and record the account's total where it has become large.

    `artifact`: the last one, which the record names.
    """
    if actor is None or actor.kind not in COUNTED_KINDS:
        return
    totals = COUNTER.add(f"{actor.kind} {actor.label}", size)
    if totals is None:
        return
    with transaction.atomic():
        record(
            actor=actor,
            action=ACTION,
            object_type="artifact",
            object_id=artifact.digest,
            after={"bytes": totals[0], "downloads": totals[1]},
            digests={"artifact": artifact.digest},
        )
