"""Checkpoints: where the chain stood, signed, in a file outside the database.

A hash chain alone cannot hold against whoever owns the database: it can be computed anew, or cut. It cannot be
signed anew without the key, and a cut shows against the newest checkpoint. Keep copies of both elsewhere.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.platform.audit import keys
from apps.platform.audit.models import ChainHead
from apps.platform.audit.verifier.verify import canonical, checkpoint_message

log = logging.getLogger(__name__)
EVERY_RECORDS = 1000
EVERY = timedelta(days=1)
LINE = 512  # bytes; a checkpoint takes fewer than 300


def get_checkpoints_path() -> Path:
    return Path(settings.PLANE_HOME) / "checkpoints" / "checkpoints.jsonl"


def write_checkpoint_if_due() -> dict[str, Any] | None:
    """Write a checkpoint after every 1,000 records and every day with records; the first with the first record."""
    head = ChainHead.objects.get(pk=1)
    new = head.seq - head.checkpoint_seq
    if new <= 0:
        return None
    old = head.checkpoint_at is None or timezone.now() - head.checkpoint_at >= EVERY
    return write_checkpoint(head) if new >= EVERY_RECORDS or old else None


def write_checkpoint(head: ChainHead) -> dict[str, Any] | None:
    """Sign where the committed `head` stands and append it, durably; None where this machine lacks the chain's key.

    Only after the commit of what it signs: a checkpoint of records that rolled back would be a false alarm for ever.
    """
    key = keys.load_signing_key(make=not head.key_id)
    if key is None or (head.key_id and keys.compute_key_id(key) != head.key_id):
        log.error("the chain is signed by key %s, which is not in %s", head.key_id, keys.get_private_key_path())
        return None
    at = timezone.now()
    checkpoint = sign_checkpoint(key, head, at)
    append(get_checkpoints_path(), canonical(checkpoint) + "\n")
    ChainHead.objects.filter(pk=head.pk, checkpoint_seq__lt=head.seq).update(
        checkpoint_seq=head.seq, checkpoint_at=at, key_id=checkpoint["key_id"]
    )
    return checkpoint


def sign_checkpoint(key: keys.SigningKey, head: ChainHead, at: datetime) -> dict[str, Any]:
    time, key_id = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), keys.compute_key_id(key)
    signature = key.sign(checkpoint_message(head.seq, head.hash, time, key_id))
    return {
        "seq": head.seq,
        "hash": head.hash,
        "time": time,
        "key_id": key_id,
        "signature": base64.b64encode(signature).decode(),
    }


def append(path: Path, line: str) -> None:
    """Add one line, whole and on the disk before this returns. A line that a crash left half is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (("\n" if torn else "") + line).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_newest_checkpoints(count: int = 1) -> list[dict[str, Any]]:
    """The newest ones, newest first, from the end of the file: a page must not read all of it."""
    path = get_checkpoints_path()
    if not path.exists():
        return []
    with path.open("rb") as lines:
        size = lines.seek(0, os.SEEK_END)
        lines.seek(max(0, size - LINE * (count + 1)))
        tail = lines.read().decode("utf-8", "replace").splitlines()
    checkpoints = [value for value in map(parse_checkpoint, reversed(tail)) if value is not None]
    return checkpoints[:count]


def parse_checkpoint(line: str) -> dict[str, Any] | None:
    """A checkpoint of a line; None for half of one."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_checkpoints() -> Iterator[dict[str, Any]]:
    """Every checkpoint of this home, oldest first. A line that a crash left half is passed over."""
    path = get_checkpoints_path()
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                if line.strip():
                    log.warning("%s holds a line that is no checkpoint", path)
                continue
            if isinstance(value, dict):
                yield value
