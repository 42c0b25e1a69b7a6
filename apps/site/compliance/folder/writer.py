"""The evidence folder: everything of one run with its signature, whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.encryption.ciphers import hash_file_sm3
from apps.core.errors import Conflict, Invalid
from apps.platform.artifacts.verification import open_verified
from apps.platform.audit import keys
from apps.platform.audit.trail_export import start_export, write_folder
from apps.site.compliance.assessment import ClauseVerdict
from apps.site.compliance.folder.oscal import build_assessment_results, build_catalog
from apps.site.compliance.folder.report import render_report
from apps.site.compliance.folder.verifier import verify as verifier
from apps.site.compliance.models import Attachment, EvidenceRun, Gap
from apps.site.compliance.probes.outcomes import ProbeOutcome
from apps.site.compliance.supply.sbom import build_image_sboms, build_node_sboms, build_plane_sbom, describe_feed
from apps.site.mirror.models import AdvisoryFeed
from deepseek.messages import N_
from deepseek.signing.documents import encode_base64

FORMAT = 1


@dataclass
class EvidenceFolder:
    """A folder that is being written. `digests`, `sizes`: of each file by its path."""

    place: Path
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def write(self, path: str, data: bytes) -> None:
        target = self.place / path
        target.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.digests[path], self.sizes[path] = sha256_hex(data), len(data)

    def write_json(self, path: str, document: Any) -> None:
        text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=False, allow_nan=False)
        self.write(path, (text + "\n").encode())

    def add_tree(self, name: str) -> None:
        """Take in the files of a folder that others have written."""
        for path in sorted((self.place / name).rglob("*")):
            if path.is_file():
                relative = path.relative_to(self.place).as_posix()
                self.digests[relative], self.sizes[relative] = verifier.hash_file(path)


def require_target(target: Path) -> None:
    """Raise Conflict for what exists already and is not an empty folder, Invalid where none can be made."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(
            "{target} exists and is not an empty folder.", target=target, field="out", hint=N_("Name a new folder.")
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise Invalid(
            "{target} cannot be made: {fault}.",
            target=target,
            fault=fault.strerror or str(fault),
            field="out",
            hint=N_("Name a folder on a disk that can be written."),
        ) from None


def write_evidence(
    *,
    actor: Actor,
    run: EvidenceRun,
    outcomes: list[ProbeOutcome],
    verdicts: list[ClauseVerdict],
    target: Path,
) -> EvidenceFolder:
    """Write the folder of a run that has ended to `target`, which must not exist or be empty.

    Raises Conflict, Invalid, or Unavailable where the key that signs is not on this machine.
    """
    policy.require(actor, "compliance.run")
    require_target(target)
    export = start_export(actor=actor, reason=f"evidence run {run.pk}")  # first: it may refuse, and names the key
    key_id = keys.compute_key_id(export.key)
    sweep_staging(target)
    staging = Path(tempfile.mkdtemp(prefix=build_staging_prefix(target), dir=target.parent))
    lock = try_lock(staging)
    try:
        folder = EvidenceFolder(staging)
        write_folder(export, staging / "audit")
        folder.add_tree("audit")
        fill_folder(folder, run, outcomes, verdicts, key_id)
        folder.write("public_key.pem", keys.encode_public_pem(export.key))
        folder.write("verify.py", Path(verifier.__file__).read_bytes())
        write_manifest(folder, run, export.key)
        if target.exists():
            target.rmdir()
        staging.rename(target)
        folder.place = target
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return folder


def build_staging_prefix(target: Path) -> str:
    """Of the folder beside `target` in which it is written."""
    return f".{target.name}.evidence-"


def sweep_staging(target: Path) -> None:
    """Remove what earlier runs to this target left when they were killed: each has a copy of the audit trail."""
    prefix = build_staging_prefix(target)
    for entry in [entry for entry in target.parent.iterdir() if entry.name.startswith(prefix)]:
        if entry.is_symlink() or not entry.is_dir():
            continue
        lock = try_lock(entry)
        if lock is not None:
            shutil.rmtree(entry, ignore_errors=True)
            os.close(lock)


def try_lock(folder: Path) -> int | None:
    """A descriptor that locks the folder until it is closed or its process ends; None where another has the lock, or
    the file system locks none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def fill_folder(
    folder: EvidenceFolder,
    run: EvidenceRun,
    outcomes: list[ProbeOutcome],
    verdicts: list[ClauseVerdict],
    key_id: str,
) -> None:
    """Everything but the audit trail, the key, the verifier and the manifest."""
    began, ended = run.started_at or run.created_at, run.ended_at or run.created_at
    since = dict(run.results.values_list("clause", "since"))
    gaps = {gap.clause: gap for gap in Gap.objects.all()}
    feed = describe_feed(AdvisoryFeed.objects.first())
    name = f"{key_id}-{run.pk}"
    for row in {row.artifact_id: row for verdict in verdicts for row in verdict.documents}.values():
        folder.write(f"documents/{row.artifact_id}", read_document(row))
    folder.write_json("sbom/plane.cdx.json", build_plane_sbom(ended))
    for number, (_, document) in enumerate(build_node_sboms(ended), 1):
        folder.write_json(f"sbom/node-{number}.cdx.json", document)
    for number, (_, document) in enumerate(build_image_sboms(ended), 1):
        folder.write_json(f"sbom/image-{number}.cdx.json", document)
    folder.write_json("evidence.json", build_evidence(run, name, verdicts, since, gaps, feed))
    folder.write_json("catalog.json", build_catalog())
    report = render_report(verdicts, run=name, at=ended, key_id=key_id, gaps=gaps, since=since, feed=feed)
    folder.write("report.pdf", report)
    results = build_assessment_results(
        run=name, began=began, ended=ended, outcomes=outcomes, verdicts=verdicts, files=folder.digests
    )
    folder.write_json("assessment-results.json", results)


def read_document(row: Attachment) -> bytes:
    with open_verified(row.artifact) as reading:
        return b"".join(reading)


def build_evidence(
    run: EvidenceRun,
    name: str,
    verdicts: list[ClauseVerdict],
    since: Mapping[str, datetime],
    gaps: Mapping[str, Gap],
    feed: str,
) -> dict[str, Any]:
    """evidence.json: {"clauses": [{"id", "verdict", "probe", "evidence", ...}], ...}."""
    clauses = []
    for verdict in verdicts:
        clause = verdict.clause
        gap = gaps.get(clause.id)
        clauses.append(
            {
                "id": clause.id,
                "verdict": str(verdict.verdict),
                "probe": ", ".join(clause.probes) or "document",
                "summary": clause.summary.to_dict(),
                "since": since[clause.id].isoformat() if clause.id in since else None,
                "gap": {"owner": gap.owner, "due_on": gap.due_on.isoformat(), "note": gap.note} if gap else None,
                "evidence": verdict.list_evidence(),
            }
        )
    return {
        "format": FORMAT,
        "run": name,
        "started_at": (run.started_at or run.created_at).isoformat(),
        "ended_at": (run.ended_at or run.created_at).isoformat(),
        "standard": "GB/T 22239-2019, level 3",
        "advisories": feed,
        "summary": {
            "met": run.met,
            "partly": run.partly,
            "not met": run.not_met,
            "not applicable": run.not_applicable,
        },
        "clauses": clauses,
    }


def write_manifest(folder: EvidenceFolder, run: EvidenceRun, key: keys.SigningKey) -> None:
    """The signature over every file: an in-toto statement in a DSSE envelope, by the key of the audit trail."""
    statement = {
        "_type": verifier.STATEMENT_TYPE,
        "subject": [
            {"name": path, "digest": list_digests(folder.place / path, digest)}
            for path, digest in sorted(folder.digests.items())
        ],
        "predicateType": verifier.PREDICATE_TYPE,
        "predicate": {
            "run": run.pk,
            "made_at": (run.ended_at or run.created_at).isoformat(),
            "sizes": dict(sorted(folder.sizes.items())),
        },
    }
    payload, kind = encode_canonical_json(statement).encode(), verifier.PAYLOAD_TYPE
    signature = key.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload))
    envelope = {
        "payloadType": kind,
        "payload": encode_base64(payload),
        "signatures": [{"keyid": keys.compute_key_id(key), "sig": encode_base64(signature)}],
    }
    folder.write(verifier.MANIFEST, verifier.canonical(envelope) + b"\n")


def list_digests(path: Path, sha256: str) -> dict[str, str]:
    """The digests of a file that are signed; with EVIDENCE_SM3 that of GB/T 32905 too."""
    return {"sha256": sha256, **({"sm3": hash_file_sm3(path)} if settings.ENV.evidence_sm3 else {})}


def zip_folder(folder: EvidenceFolder, archive: Path) -> None:
    """The folder as a zip: one folder `evidence` in it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.digests):
            out.write(folder.place / path, f"evidence/{path}")
