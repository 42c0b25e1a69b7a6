"""Exports: a range of the trail with all that is needed to check it on a machine that has never seen this plane.

An export of one project, or of what filters leave, holds every record of the range, the others by the digest of their
body only, so that the chain still closes. Asking for it is itself a record, sealed and signed before the first line
leaves.
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
from datetime import datetime
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.platform.audit import keys
from apps.platform.audit.checkpoints import get_checkpoints_path, read_checkpoints, write_checkpoint
from apps.platform.audit.filters import Filters, apply_filters
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.record_body import TIME
from apps.platform.audit.sealer import seal_all
from apps.platform.audit.services import record
from apps.platform.audit.verification import iter_sealed_rows
from apps.platform.audit.verifier import verify as verifier
from apps.platform.audit.verifier.verify import GENESIS, algorithm_of, body_digest, canonical, manifest_message
from deepseek.messages import N_

MAX_FILTERED_RECORDS = 100_000  # their ids are kept in memory while the export is written


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
    filters: dict[str, Any] | None = None
    selected: frozenset[int] | None = None  # ids of the records that the filters leave

    def record_lines(self) -> Iterator[bytes]:
        """The records, one JSON object a line, along the chain."""
        for row in iter_sealed_rows(after=self.first - 1, until=self.last):
            is_included = self.project_id is None or row.project_id == self.project_id
            is_included = is_included and (self.selected is None or row.pk in self.selected)
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
            **({"filters": self.filters} if self.filters else {}),
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
    filters: Filters | None = None,
) -> Export:
    """Record the export, seal and sign up to and with that record, and grant the range (both ends included).

    `filters`: only the records that they leave are written whole; an end that is not given is that of these records.
    Raises Invalid when the range is not in the chain or the filters leave no record or too many, Unavailable when the
    signing key is not on this machine.
    """
    require(actor, "audit.export")
    head = ChainHead.objects.get(pk=1)
    key = keys.require_key(make=not head.key_id)
    if head.key_id and keys.compute_key_id(key) != head.key_id:
        raise Conflict("The key on this machine is not the one that signs this chain.", limit=head.key_id)
    first = from_seq or 1
    check_range(first, to_seq, head.seq + AuditRecord.objects.filter(seq__isnull=True).count() + 1)
    selected, described = None, describe_filters(filters)
    if filters is not None and described:
        seqs = select_filtered(filters, first, to_seq)
        first, to_seq, selected = from_seq or min(seqs), to_seq or max(seqs), frozenset(seqs.values())
    with transaction.atomic():
        record(
            actor=actor,
            action="audit.export",
            project_id=project_id,
            reason=reason,
            after={"from_seq": first, "to_seq": to_seq, "project": project_id}
            | ({"filters": described} if described else {}),
        )
    seal_all()
    head.refresh_from_db()
    write_checkpoint(head)
    last = min(to_seq or head.seq, head.seq)
    return Export(first, last, to_seq is None, project_id, key, filters=described or None, selected=selected)


def describe_filters(filters: Filters | None) -> dict[str, Any]:
    """The filters but that of the project, as JSON has them; empty where there are none."""
    values = {} if filters is None else filters.as_dict()
    values.pop("project_id", None)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def select_filtered(filters: Filters, first: int, last: int | None) -> dict[int, int]:
    """Number -> id of the records of the range that the filters leave; Invalid for none, or for too many."""
    seal_all()
    matches = apply_filters(AuditRecord.objects.filter(seq__gte=first), filters)
    if last is not None:
        matches = matches.filter(seq__lte=last)
    rows = dict(matches.order_by("seq").values_list("seq", "pk")[: MAX_FILTERED_RECORDS + 1])
    if not rows:
        raise build_nothing_to_export_error(filters, first, last)
    if len(rows) > MAX_FILTERED_RECORDS:
        raise Invalid(
            "More than {count} records match the filters.",
            count=f"{MAX_FILTERED_RECORDS:,}",
            code="too_many_to_export",
            field="filters",
            limit=f"{MAX_FILTERED_RECORDS:,}",
            hint=N_("Narrow the filters or the range, or export the range without filters."),
        )
    return rows


def build_nothing_to_export_error(filters: Filters, first: int, last: int | None) -> Invalid:
    """Names the one filter as its field, or `filters` where several together leave nothing."""
    parameters = filters.as_parameters()
    if filters.project_id is not None:  # as it was typed
        parameters["project"] = str(apps.get_model("accounts", "Project").objects.get(pk=filters.project_id).slug)
    return Invalid(
        "No record from {first} to {last} matches {filters}.",
        first=first,
        last=last or ChainHead.objects.get(pk=1).seq,
        filters=", ".join(f"{name}={value}" for name, value in parameters.items()),
        code="nothing_to_export",
        field=next(iter(parameters)) if len(parameters) == 1 else "filters",
        limit="at least 1 record",
        hint=N_("Change or clear the filters, or export a range."),
    )


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
