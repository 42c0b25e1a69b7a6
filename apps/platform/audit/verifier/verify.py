#!/usr/bin/env python3
"""Check an exported audit trail on a machine that has never seen the plane.

    python verify.py EXPORT [--public-key FILE] [--checkpoint FILE]

EXPORT is the folder that `manage.py export_audit` wrote, or the one file that the REST export sent. Needs Python's
standard library and `cryptography`. Prints "whole" and exits with 0, or names the first bad record and exits with 1;
2 when the export cannot be read at all.

The formula, which is the only secret-free thing that all of this rests on:

    hash(n) = SHA-256( hash(n-1) + "\\n" + n + "\\n" + SHA-256(body(n)) )

n counts from 1 without gaps, in decimal; every SHA-256 is written as 64 lower-case hex digits; `body` is the text of
the record byte for byte, as UTF-8, never parsed and written again; hash(0) is 64 zeros. The inner digest lets an
export of one project withhold the bodies of others and still show the chain whole.

Where a plane seals by SM3 (GB/T 32905), both SHA-256 of the formula are SM3, and hash(n) is written as "sm3:" and 64
hex digits; one chain may hold links of both kinds. SM3 comes with OpenSSL or `cryptography`. On a machine that has
neither those links are counted as not checked, and the exit status is 2.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

GENESIS = "0" * 64
CHECKPOINT_CONTEXT = "plane-audit-checkpoint-v1\n"
EXPORT_CONTEXT = "plane-audit-export-v1\n"
SHA256, SM3 = "sha256", "sm3"
SM3_MARK = "sm3:"


class Unreadable(Exception):
    """The export is no export: a file is missing or a line is not what it should be."""


class Finding(NamedTuple):
    """The first thing that is wrong, and where. `seq` and `id` are None where it is about no single record."""

    what: str
    seq: int | None = None
    id: int | None = None

    def __str__(self) -> str:
        at = f"record {self.seq}" if self.seq is not None else "the export"
        return f"{at}{f' (id {self.id})' if self.id is not None else ''}: {self.what}"


class Link(NamedTuple):
    """What the chain needs to know of a record."""

    seq: int
    id: int | None
    prev: str
    hash: str
    body_digest: str


@cache
def find_sm3() -> Callable[[bytes], str] | None:
    """A function to 64 hex digits, of OpenSSL or of `cryptography`; None where neither has SM3."""
    with suppress(ValueError):
        hashlib.new(SM3)
        return lambda data: hashlib.new(SM3, data).hexdigest()
    try:
        from cryptography.hazmat.primitives import hashes

        hashes.Hash(hashes.SM3())
    except Exception:  # noqa: BLE001  of a package that is old, or missing
        return None

    def hash_by_package(data: bytes) -> str:
        content_hash = hashes.Hash(hashes.SM3())
        content_hash.update(data)
        return content_hash.finalize().hex()

    return hash_by_package


def hash_text(text: str, algorithm: str) -> str:
    if algorithm == SHA256:
        return hashlib.sha256(text.encode()).hexdigest()
    sm3 = find_sm3()
    if sm3 is None:
        raise Unreadable("this Python has no SM3")
    return sm3(text.encode())


def algorithm_of(chain: str) -> str:
    """By which a link was sealed, as its hash says."""
    return SM3 if chain.startswith(SM3_MARK) else SHA256


def body_digest(body: str, algorithm: str = SHA256) -> str:
    return hash_text(body, algorithm)


def chain_hash(prev: str, seq: int, body_digest: str, algorithm: str = SHA256) -> str:
    """The hash of record `seq`, given the hash before it and the digest of its body."""
    return ("" if algorithm == SHA256 else SM3_MARK) + hash_text(f"{prev}\n{seq}\n{body_digest}", algorithm)


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def checkpoint_message(seq: int, chain: str, time: str, key_id: str) -> bytes:
    return f"{CHECKPOINT_CONTEXT}{seq}\n{chain}\n{time}\n{key_id}".encode()


def manifest_message(manifest: dict[str, Any]) -> bytes:
    unsigned = {name: value for name, value in manifest.items() if name not in {"signature", "type"}}
    return (EXPORT_CONTEXT + canonical(unsigned)).encode()


@dataclass
class Walk:
    """Goes along the chain, one link at a time, and remembers only where it is: constant memory."""

    seq: int = 0
    hash: str = GENESIS
    signed: dict[int, str] = field(default_factory=dict)  # what checkpoints say of records still to come
    anchored: bool = True  # False: the first link is taken at its word, for a range that starts later
    unchecked: int = 0  # links by SM3 where this Python has none: they follow one another, their bodies may be others

    def step(self, link: Link) -> Finding | None:
        """Take the next link; a Finding when it does not belong here, after which the walk is over."""
        wrong = self.wrong_with(link)
        if wrong:
            return Finding(wrong, link.seq, link.id)
        self.seq, self.hash, self.anchored = link.seq, link.hash, True
        return None

    def wrong_with(self, link: Link) -> str:
        if not self.anchored:
            self.hash, self.seq = link.prev, link.seq - 1
        due = self.seq + 1
        if link.seq > due:
            gap = f"record {due} is" if link.seq == due + 1 else f"records {due} to {link.seq - 1} are"
            return f"{gap} missing before it (deleted, or out of order)"
        if link.seq < due:
            return f"stands where record {due} belongs (inserted twice, or out of order)"
        if link.prev != self.hash:
            return "does not follow the record before it (inserted, reordered, or the one before was replaced)"
        algorithm = algorithm_of(link.hash)
        if algorithm == SM3 and find_sm3() is None:
            self.unchecked += 1
        elif link.hash != chain_hash(link.prev, link.seq, link.body_digest, algorithm):
            return "its body does not match its hash (edited, inserted or reordered)"
        signed = self.signed.get(link.seq)
        if signed is not None and signed != link.hash:
            return "a signed checkpoint has another hash for it (the chain was computed anew at or before it)"
        return ""


# -- signatures -----------------------------------------------------------------------------------------------------


def load_public_key(pem: bytes) -> Any:
    """The Ed25519 public key of a PEM text; ValueError when it is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")
    return key


def key_id_of(key: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def signature_holds(key: Any, signature: str, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def checkpoint_fault(key: Any, checkpoint: dict[str, Any]) -> str:
    """What is wrong with a checkpoint; "" when it is signed by this key."""
    try:
        seq, chain = int(checkpoint["seq"]), str(checkpoint["hash"])
        message = checkpoint_message(seq, chain, str(checkpoint["time"]), str(checkpoint["key_id"]))
        signature = str(checkpoint["signature"])
    except (KeyError, TypeError, ValueError):
        return "the checkpoint lacks a field or has a wrong one"
    if checkpoint["key_id"] != key_id_of(key):
        return f"the checkpoint is signed by key {checkpoint['key_id']}, not by {key_id_of(key)}"
    return "" if signature_holds(key, signature, message) else "the signature of its checkpoint does not hold"


def signed_hashes(key: Any, checkpoints: Iterable[dict[str, Any]]) -> tuple[dict[int, str], Finding | None]:
    """Record number -> hash as the checkpoints sign it, and the first checkpoint that does not hold."""
    signed: dict[int, str] = {}
    for checkpoint in checkpoints:
        seq = checkpoint.get("seq") if isinstance(checkpoint, dict) else None
        fault = checkpoint_fault(key, checkpoint)
        if not fault and signed.setdefault(int(seq or 0), checkpoint["hash"]) != checkpoint["hash"]:
            fault = "two signed checkpoints have different hashes for it"
        if fault:
            return signed, Finding(fault, seq if isinstance(seq, int) else None)
    return signed, None


# -- the export -----------------------------------------------------------------------------------------------------


def json_lines(path: Path, digest: Any = None) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line, read one at a time; `digest` is fed the bytes of every line but a manifest."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
            except ValueError:
                raise Unreadable(f"{path.name}, line {number}: not JSON (cut off, or edited)") from None
            if not isinstance(value, dict):
                raise Unreadable(f"{path.name}, line {number}: not an object")
            if digest is not None and value.get("type") != "manifest":
                digest.update(line)
            yield value


def link_of(line: dict[str, Any]) -> Link:
    try:
        algorithm, digest = algorithm_of(str(line["hash"])), ""
        if algorithm == SHA256 or find_sm3() is not None:
            digest = body_digest(line["body"], algorithm) if "body" in line else str(line[f"body_{algorithm}"])
        return Link(int(line["seq"]), line.get("id"), str(line["prev"]), str(line["hash"]), digest)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unreadable(f"a record lacks a field or has a wrong one: {json.dumps(line)[:120]}") from None


@dataclass
class Export:
    """The parts of an export. `records` reads its file anew at each call and feeds `digest`."""

    path: Path
    key_pem: bytes
    manifest: dict[str, Any]
    checkpoints: list[dict[str, Any]]
    digest: Any = field(default_factory=hashlib.sha256)

    def records(self) -> Iterator[dict[str, Any]]:
        path = self.path / "records.jsonl" if self.path.is_dir() else self.path
        for line in json_lines(path, self.digest):
            if line.get("type", "record") == "record":
                yield line


def open_export(path: Path) -> Export:
    try:
        if path.is_dir():
            manifest = json.loads((path / "manifest.json").read_bytes())
            checkpoints = list(json_lines(path / "checkpoints.jsonl"))
            return Export(path, (path / "public_key.pem").read_bytes(), manifest, checkpoints)
        header: dict[str, Any] = {}
        manifest, checkpoints = {}, []
        for line in json_lines(path):
            kind = line.get("type", "record")
            if kind == "checkpoint":
                checkpoints.append(line)
            elif kind == "header":
                header = line
            elif kind == "manifest":
                manifest = line
        return Export(path, str(header.get("public_key", "")).encode(), manifest, checkpoints)
    except (OSError, ValueError) as failure:
        raise Unreadable(str(failure)) from None


@dataclass
class Report:
    """What the check found. `finding` is None when everything holds."""

    first: int = 0
    last: int = 0
    records: int = 0
    withheld: int = 0
    unchecked: int = 0
    checkpoints: int = 0
    key_id: str = ""
    finding: Finding | None = None


def verify_export(export: Export, *, pinned: bytes | None = None, own: Iterable[dict[str, Any]] = ()) -> Report:
    """Check an export; `pinned` is the public key as it was kept elsewhere, `own` checkpoints kept elsewhere."""
    report = Report()
    try:
        key = load_public_key(pinned or export.key_pem)
    except ValueError:
        raise Unreadable("the public key is not an Ed25519 key in PEM form") from None
    report.key_id = key_id_of(key)
    report.checkpoints = len(export.checkpoints)
    checkpoints = list(own)
    signed, fault = signed_hashes(key, [*checkpoints, *export.checkpoints])
    first = int(export.manifest.get("from_seq") or 1)
    walk = Walk(signed=signed, anchored=first == 1)
    report.finding = walk_records(export, walk, report) or fault or manifest_fault(export, key, walk, report)
    report.unchecked = walk.unchecked
    if report.finding is None:
        report.finding = cut_fault(walk, signed)
    return report


def walk_records(export: Export, walk: Walk, report: Report) -> Finding | None:
    for line in export.records():
        link = link_of(line)
        report.first = report.first or link.seq
        finding = walk.step(link)
        if finding is not None:
            return finding
        report.records += 1
        report.withheld += "body" not in line
        report.last = link.seq
    return None


def manifest_fault(export: Export, key: Any, walk: Walk, report: Report) -> Finding | None:
    """The manifest is signed and says what the records are; a cut at either end shows here."""
    manifest = export.manifest
    if not manifest:
        return Finding("it has no manifest: it was cut off")
    if not signature_holds(key, str(manifest.get("signature", "")), manifest_message(manifest)):
        return Finding("the signature of its manifest does not hold (edited, or signed by another key)")
    last = int(manifest.get("to_seq") or 0)
    if report.last < last:
        return Finding(f"the export ends here, its signed manifest at record {last}: the tail was cut", report.last)
    if report.last > last or report.records != manifest.get("records"):
        return Finding(f"the signed manifest counts {manifest.get('records')} records up to {last}", report.last)
    if report.records and report.first != manifest.get("from_seq"):
        return Finding(f"the signed manifest begins at record {manifest.get('from_seq')}", report.first)
    if report.records and walk.hash != manifest.get("head"):
        return Finding("the signed manifest has another hash for the last record", report.last)
    for name, expected in dict(manifest.get("files", {})).items():
        if export.path.is_dir() and not file_matches(export, name, str(expected)):
            return Finding(f"{name} is not the file that was signed")
    if not export.path.is_dir() and export.digest.hexdigest() != manifest.get("sha256"):
        return Finding("the file is not the one that was signed")
    return None


def file_matches(export: Export, name: str, expected: str) -> bool:
    if name == "records.jsonl":  # was read just now
        return bool(export.digest.hexdigest() == expected)
    path = export.path / name
    return Path(name).name == name and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == expected


def cut_fault(walk: Walk, signed: dict[int, str]) -> Finding | None:
    newest = max(signed, default=0)
    if newest <= walk.seq:
        return None
    return Finding(f"the chain ends here, a signed checkpoint reached record {newest}: the tail was cut", walk.seq)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check an exported audit trail; names the first bad record.")
    parser.add_argument("export", type=Path, help="the exported folder or file")
    parser.add_argument("--public-key", type=Path, help="the public key as you keep it, not as the export has it")
    parser.add_argument("--checkpoint", type=Path, help="checkpoints that you kept: the trail must contain them")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        pinned = options.public_key.read_bytes() if options.public_key else None
        own = list(json_lines(options.checkpoint)) if options.checkpoint else []
        report = verify_export(open_export(options.export), pinned=pinned, own=own)
    except (Unreadable, OSError) as failure:
        print(f"UNREADABLE: {failure}")  # noqa: T201
        return 2
    if report.finding is not None:
        print(f"BROKEN: {report.finding}")  # noqa: T201
        return 1
    if report.unchecked:
        part = f"{report.unchecked} of {report.records} records"
        print(f"NOT CHECKED: {part} are sealed by SM3, which this Python lacks.")  # noqa: T201
        return 2
    withheld = f", {report.withheld} of them by digest only" if report.withheld else ""
    print(f"WHOLE: records {report.first} to {report.last}, {report.records} in all{withheld}.")  # noqa: T201
    note = "" if options.public_key else " The key came with the export: compare its id with one you know."
    print(f"{report.checkpoints} checkpoints, signed by key {report.key_id}.{note}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
