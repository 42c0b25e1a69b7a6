"""Exports: a range of the trail with all that is needed to check it on a machine that has never seen this plane.

An export of one project holds every record of the range, those of other projects by the digest of their body only,
so that the chain still closes. Asking for it is itself a record, sealed and signed before the first line leaves.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.platform.audit import keys
from apps.platform.audit.checkpoints import get_checkpoints_path, read_checkpoints, write_checkpoint
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.record_body import TIME
from apps.platform.audit.sealer import seal_all
from apps.platform.audit.services import record
from apps.platform.audit.verification import iter_sealed_rows
from apps.platform.audit.verifier import verify as verifier
from apps.platform.audit.verifier.verify import GENESIS, algorithm_of, body_digest, canonical, manifest_message
from deepseek.messages import N_


@dataclass
class Export:
    """A range that was granted, and what was written of it so far."""

    first: int
    last: int
    open_end: bool
    project_id: int | None
    key: keys.SigningKey
    records: int = 0
    withheld: int = 0
    prev: str = ""
    head: str = GENESIS

    def record_lines(self) -> Iterator[bytes]:
        """The records, one JSON object a line, along the chain."""
        for row in iter_sealed_rows(after=self.first - 1, until=self.last):
            is_included = self.project_id is None or row.project_id == self.project_id
            self.prev, self.head = self.prev or row.prev or "", row.hash or ""
            self.records, self.withheld = self.records + 1, self.withheld + (not is_included)
            algorithm = algorithm_of(self.head)
            digest = {} if is_included else {f"body_{algorithm}": body_digest(row.body, algorithm)}
            content = {"body": row.body} if is_included else digest
            yield self.line(
                {"type": "record", "seq": row.seq, "id": row.pk, "prev": row.prev, "hash": row.hash} | content
            )

    def checkpoint_lines(self) -> Iterator[bytes]:
        """Checkpoints of the range. An open end takes also those beyond the last record: they show a cut tail."""
        for checkpoint in read_checkpoints():
            seq = checkpoint.get("seq", 0)
            if seq >= self.first and (self.open_end or seq <= self.last):
                yield self.line({"type": "checkpoint"} | checkpoint)

    def line(self, value: dict[str, Any]) -> bytes:
        return (canonical(value) + "\n").encode()

    def manifest(self, **more: Any) -> dict[str, Any]:
        """Signed: what the records are, and where the chain stood when they were written out."""
        manifest: dict[str, Any] = {
            "v": 1,
            "made": timezone.now().strftime(TIME),
            "from_seq": self.first,
            "to_seq": self.last,
            "open_end": self.open_end,
            "records": self.records,
            "withheld": self.withheld,
            "project": self.project_id,
            "prev": self.prev or GENESIS,
            "head": self.head,
            "key_id": keys.compute_key_id(self.key),
            **more,
        }
        return manifest | {"signature": base64.b64encode(self.key.sign(manifest_message(manifest))).decode()}


def start_export(
    *,
    actor: Actor,
    from_seq: int | None = None,
    to_seq: int | None = None,
    project_id: int | None = None,
    reason: str = "",
) -> Export:
    """Record the export, seal and sign up to and with that record, and grant the range (both ends included).

    Raises Invalid when the range is not in the chain, Unavailable when the signing key is not on this machine.
    """
    require(actor, "audit.export")
    head = ChainHead.objects.get(pk=1)
    key = keys.require_key(make=not head.key_id)
    if head.key_id and keys.compute_key_id(key) != head.key_id:
        raise Conflict("The key on this machine is not the one that signs this chain.", limit=head.key_id)
    first = from_seq or 1
    check_range(first, to_seq, head.seq + AuditRecord.objects.filter(seq__isnull=True).count() + 1)
    with transaction.atomic():
        record(
            actor=actor,
            action="audit.export",
            project_id=project_id,
            reason=reason,
            after={"from_seq": first, "to_seq": to_seq, "project": project_id},
        )
    seal_all()
    head.refresh_from_db()
    write_checkpoint(head)
    return Export(first, min(to_seq or head.seq, head.seq), to_seq is None, project_id, key)


def take_anchor(*, actor: Actor, name: str) -> Path:
    """The public key or the file of checkpoints, to be kept elsewhere; a check against them holds against whoever owns
    this machine. Recorded. Raises NotFound where this machine has none.
    """
    require(actor, "audit.export")
    path = {"key": keys.get_public_key_path(), "checkpoints": get_checkpoints_path()}[name]
    if not path.exists():
        raise NotFound(
            "This machine has no {path_name}.",
            path_name=path.name,
            field="name",
            hint=N_("The machine of the dispatcher has it: docs/audit.md."),
        )
    with transaction.atomic():
        record(actor=actor, action="audit.take_anchor", after={"file": path.name})
    return path


def check_range(first: int, last: int | None, newest: int) -> None:
    if not 1 <= first <= newest:
        raise Invalid("from_seq {first} is not a record.", first=first, field="from_seq", limit=f"1 to {newest}")
    if last is not None and not first <= last <= newest:
        raise Invalid(
            "to_seq {last} is not a record after from_seq.", last=last, field="to_seq", limit=f"{first} to {newest}"
        )


def stream(export: Export) -> Iterator[bytes]:
    """The export as one file of JSON lines: header, records, checkpoints, manifest. The last line signs the others."""
    header = {"type": "header", "v": 1, "public_key": keys.encode_public_pem(export.key).decode()}
    digest = hashlib.sha256()
    for line in itertools.chain([export.line(header)], export.record_lines(), export.checkpoint_lines()):
        digest.update(line)
        yield line
    yield export.line({"type": "manifest"} | export.manifest(sha256=digest.hexdigest()))


def write_folder(export: Export, target: Path) -> dict[str, Any]:
    """The export as a folder with the verifier beside it; whole or not at all. Returns the manifest.

    Raises Conflict when `target` exists and is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(
            "{target} exists and is not an empty folder.", target=target, field="out", hint=N_("Name a new folder.")
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        files = {
            "records.jsonl": write_file(staging / "records.jsonl", export.record_lines()),
            "checkpoints.jsonl": write_file(staging / "checkpoints.jsonl", export.checkpoint_lines()),
            "public_key.pem": write_file(staging / "public_key.pem", iter([keys.encode_public_pem(export.key)])),
            "verify.py": write_file(staging / "verify.py", iter([Path(verifier.__file__).read_bytes()])),
        }
        manifest = export.manifest(files=files)
        write_file(staging / "manifest.json", iter([(canonical(manifest) + "\n").encode()]))
        if target.exists():
            target.rmdir()
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def write_file(path: Path, chunks: Iterator[bytes]) -> str:
    """Write a file, durably, readable by its owner only. Returns its SHA-256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()
