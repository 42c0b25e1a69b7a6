#!/usr/bin/env python3
"""Check a folder of evidence: python verify.py DIR [--public-key MY_COPY.pem]

One file, Python's standard library alone; the signatures are checked in Python itself (Ed25519, RFC 8032), and by the
package `cryptography` as well where that is installed. Exit status 0: the folder is as it was signed. 1: it is not,
with everything that is wrong. Nothing in the folder is executed.

The key came with the folder: whoever can sign a folder of their own can put another key into it. So compare its id
with one that you know, or give your own copy with --public-key.

What is checked:
1. manifest.json is an envelope (DSSE) in canonical form, signed by the key in public_key.pem, over the SHA-256 and the
   size of every other file.
   Where the SM3 of the files is signed too (GB/T 32905), it is checked if this Python's OpenSSL has SM3.
2. The folder holds these files, and nothing else: no file, folder or link more or less, and each byte as signed.
3. evidence.json and assessment-results.json have the same verdicts; the hashes in the latter are those of the files.
4. The exported audit trail in audit/ is a chain without a gap, and its checkpoints and manifest are signed. Links that
   were sealed by SM3 are checked if this Python's OpenSSL has SM3, and counted as not checked otherwise.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST, PUBLIC_KEY = "manifest.json", "public_key.pem"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:deepseek-offline:evidence:v1"
KEY_HEADER = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519, before the 32 bytes
VERDICTS = {"met", "partly", "not met", "not applicable"}
GENESIS = "0" * 64


class Broken(Exception):
    """Something is not as it was signed."""


# -- Ed25519 (RFC 8032, section 5.1.7) ------------------------------------------------------------------------------
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]  # extended coordinates


def recover_x(y: int, sign: int) -> int | None:
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_1 % P
    if (x * x - square) % P:
        return None
    return P - x if (x & 1) != sign else x


def decode_point(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add_points(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c = 2 * one[3] * two[3] * D % P
    d = 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply_point(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add_points(result, point)
        point = add_points(point, point)
        scalar >>= 1
    return result


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE: Point = (lambda x: (x, BASE_Y, 1, x * BASE_Y % P))(recover_x(BASE_Y, 0) or 0)


def is_signature(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is of the public key (32 bytes)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public, commitment = decode_point(key), decode_point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or commitment is None or scalar >= L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = multiply_point(scalar, BASE), add_points(commitment, multiply_point(challenge, public))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# -- forms ----------------------------------------------------------------------------------------------------------
def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode_base64(text: Any) -> bytes:
    """Base64 that has one form alone. Raises Broken."""
    try:
        data = base64.b64decode(str(text), validate=True)
    except ValueError:
        raise Broken("base64 is damaged") from None
    if base64.b64encode(data).decode() != text:
        raise Broken("base64 is not in its one form")
    return data


def decode_key(pem: bytes) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM form. Raises Broken."""
    lines = pem.decode("ascii", "replace").split()
    body = "".join(lines).replace("-----BEGINPUBLICKEY-----", "").replace("-----ENDPUBLICKEY-----", "")
    data = decode_base64(body)
    if len(data) != 44 or not data.startswith(KEY_HEADER):
        raise Broken("it is not an Ed25519 public key")
    return data[12:]


def compute_key_id(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:16]


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise Broken(f"{path.name} cannot be read: {fault}") from None


# -- the folder -----------------------------------------------------------------------------------------------------
def open_manifest(folder: Path, key: bytes) -> dict[str, Any]:
    """The signed statement of the folder. Raises Broken."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as fault:
        raise Broken(f"{MANIFEST} cannot be read: {fault.strerror}") from None
    envelope = read_json(folder / MANIFEST)
    if not isinstance(envelope, dict) or set(envelope) != {"payloadType", "payload", "signatures"}:
        raise Broken(f"{MANIFEST} is no envelope")
    if canonical(envelope) + b"\n" != text:
        raise Broken(f"{MANIFEST} is not in its one form (edited)")
    payload, kind = decode_base64(envelope["payload"]), str(envelope["payloadType"])
    signatures = envelope["signatures"]
    if kind != PAYLOAD_TYPE or not isinstance(signatures, list) or len(signatures) != 1:
        raise Broken(f"{MANIFEST} has another type, or not one signature")
    signature = signatures[0]
    if not isinstance(signature, dict) or set(signature) != {"keyid", "sig"}:
        raise Broken(f"the signature of {MANIFEST} has another form")
    if signature["keyid"] != compute_key_id(key):
        raise Broken(f"{MANIFEST} is signed by key {signature['keyid']}, not by {compute_key_id(key)}")
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    if not is_signature(key, decode_base64(signature["sig"]), message):
        raise Broken(f"the signature of {MANIFEST} does not hold")
    try:
        statement = json.loads(payload)
    except ValueError:
        raise Broken(f"{MANIFEST} holds no statement") from None
    if not isinstance(statement, dict) or (statement.get("_type"), statement.get("predicateType")) != (
        STATEMENT_TYPE,
        PREDICATE_TYPE,
    ):
        raise Broken(f"{MANIFEST} holds another kind of statement")
    return statement


def list_entries(folder: Path, folders: set[str]) -> tuple[dict[str, Path], list[str]]:
    """The files below the folder by their paths, and what is neither a file nor one of `folders`."""
    files: dict[str, Path] = {}
    strange: list[str] = []
    for place, names, entries in os.walk(folder):
        base = Path(place)
        for name in list(names):
            path = base / name
            if path.is_symlink() or path.relative_to(folder).as_posix() not in folders:
                strange.append(path.relative_to(folder).as_posix() + "/")
                names.remove(name)
        for name in entries:
            path = base / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                strange.append(relative)
            else:
                files[relative] = path
    return files, strange


def hash_file(path: Path, algorithm: str = "sha256") -> tuple[str, int]:
    """(hex digits, bytes) of a file. Raises ValueError for an algorithm that this Python does not have."""
    digest, size = hashlib.new(algorithm), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def iter_file_faults(folder: Path, statement: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the files: missing, more, or other bytes."""
    signed = {str(row["name"]): str(row["digest"]["sha256"]) for row in statement["subject"]}
    sizes = {str(name): int(size) for name, size in statement["predicate"]["sizes"].items()}
    folders = {parent.as_posix() for name in signed for parent in Path(name).parents} - {"."}
    files, strange = list_entries(folder, folders)
    yield from (f"{name}: is neither a file nor one of the signed folders" for name in strange)
    yield from (f"{name}: is missing" for name in sorted(set(signed) - set(files)))
    yield from (f"{name}: was added" for name in sorted(set(files) - set(signed) - {MANIFEST}))
    for name in sorted(set(signed) & set(files)):
        digest, size = hash_file(files[name])
        if size != sizes.get(name):
            yield f"{name}: has {size} bytes, {sizes.get(name)} were signed"
        elif digest != signed[name]:
            yield f"{name}: its bytes are not those that were signed"


def check_sm3(folder: Path, statement: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(faults, notes) of the SM3 digests that were signed beside SHA-256."""
    signed = {str(row["name"]): str(row["digest"]["sm3"]) for row in statement["subject"] if "sm3" in row["digest"]}
    if not signed:
        return [], []
    if not has_sm3():
        return [], [f"Not checked: the SM3 of {len(signed)} files (this Python's OpenSSL has no SM3)."]
    faults = [
        f"{name}: its SM3 is not the one that was signed"
        for name, digest in sorted(signed.items())
        if hash_file(folder / name, "sm3")[0] != digest
    ]
    return faults, [] if faults else [f"The SM3 of {len(signed)} files is the one that was signed."]


def has_sm3() -> bool:
    try:
        return bool(hashlib.new("sm3"))
    except ValueError:
        return False


def iter_verdict_faults(folder: Path) -> Iterator[str]:
    """Where the two documents with verdicts disagree."""
    evidence, results = read_json(folder / "evidence.json"), read_json(folder / "assessment-results.json")
    clauses = {row["id"]: row["verdict"] for row in evidence["clauses"]}
    if len(clauses) != len(evidence["clauses"]):
        yield "evidence.json: a clause stands twice"
    yield from (
        f"evidence.json: {name} has the verdict {each!r}" for name, each in clauses.items() if each not in VERDICTS
    )
    verdicts: dict[str, str] = {}
    document = results["assessment-results"]
    for finding in document["results"][0]["findings"]:
        name = finding["target"]["target-id"].removeprefix("mlps3-").removesuffix("_smt")
        verdicts[name] = next(each["value"] for each in finding["props"] if each["name"] == "verdict").replace("-", " ")
        satisfied = verdicts[name] in ("met", "not applicable")
        if (finding["target"]["status"]["state"] == "satisfied") != satisfied:
            yield f"assessment-results.json: the state of {name} contradicts its verdict"
    yield from (
        f"{name}: evidence.json says {clauses.get(name)}, assessment-results.json {verdicts.get(name)}"
        for name in sorted(set(clauses) | set(verdicts))
        if clauses.get(name) != verdicts.get(name)
    )
    for resource in document["back-matter"]["resources"]:
        for link in resource.get("rlinks", ()):
            path = folder / link["href"]
            if not path.is_file() or hash_file(path)[0] != link["hashes"][0]["value"]:
                yield f"assessment-results.json: {link['href']} has another hash"


# -- the audit trail ------------------------------------------------------------------------------------------------
def iter_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
            except ValueError:
                raise Broken(f"audit/{path.name}, line {number}: not JSON") from None
            yield value


def compute_link(head: str, due: int, row: dict[str, Any], algorithm: str) -> str:
    """The hash that the record has, if it follows the one with the hash `head`."""
    body = hashlib.new(algorithm, row["body"].encode()).hexdigest() if "body" in row else str(row[f"body_{algorithm}"])
    link = hashlib.new(algorithm, f"{head}\n{due}\n{body}".encode()).hexdigest()
    return link if algorithm == "sha256" else f"{algorithm}:{link}"


def iter_trail_faults(folder: Path, key: bytes, notes: list[str]) -> Iterator[str]:
    """The first record that does not follow the one before, and signatures that do not hold."""
    signed: dict[int, str] = {}
    rows = list(iter_lines(folder / "checkpoints.jsonl"))
    for row in rows:
        message = f"plane-audit-checkpoint-v1\n{row['seq']}\n{row['hash']}\n{row['time']}\n{row['key_id']}".encode()
        signed[int(row["seq"])] = str(row["hash"])
    for row in rows[-1:]:  # each stands in a signed file; the newest, which the others lead to, is checked by itself
        if row["key_id"] == compute_key_id(key) and not is_signature(key, decode_base64(row["signature"]), message):
            yield f"audit: the signature of checkpoint {row['seq']} does not hold"
    manifest = read_json(folder / "manifest.json")
    unsigned = {name: value for name, value in manifest.items() if name not in {"signature", "type"}}
    if not is_signature(key, decode_base64(manifest["signature"]), b"plane-audit-export-v1\n" + canonical(unsigned)):
        yield "audit: the signature of its manifest does not hold"
    head, due, count, unchecked = str(manifest.get("prev", GENESIS)), int(manifest["from_seq"]), 0, 0
    for row in iter_lines(folder / "records.jsonl"):
        algorithm = "sm3" if str(row["hash"]).startswith("sm3:") else "sha256"
        if algorithm == "sha256" or has_sm3():
            expected = compute_link(head, due, row, algorithm)
        else:
            expected, unchecked = str(row["hash"]), unchecked + 1
        if row["seq"] != due or row["prev"] != head or row["hash"] != expected:
            yield f"audit: record {row.get('seq')} does not follow the one before it"
            return
        if signed.get(due, expected) != expected:
            yield f"audit: a signed checkpoint has another hash for record {due}"
            return
        head, due, count = expected, due + 1, count + 1
    if head != manifest["head"] or count != manifest["records"]:
        yield "audit: it ends elsewhere than its signed manifest says"
    if unchecked:
        notes.append(f"Not checked: the SM3 of {unchecked} audit records (this Python's OpenSSL has no SM3).")


# -- the command ----------------------------------------------------------------------------------------------------
def check_with_package(folder: Path, key: bytes) -> str:
    """A second opinion on the signature of the manifest by `cryptography`. Raises Broken; returns what to tell."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return "Not checked: the signature by a second implementation (the package cryptography is not installed)."
    envelope = read_json(folder / MANIFEST)
    payload, kind = decode_base64(envelope["payload"]), envelope["payloadType"].encode()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(
            decode_base64(envelope["signatures"][0]["sig"]),
            b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload),
        )
    except InvalidSignature:
        raise Broken("the package cryptography refuses the signature") from None
    return "The package cryptography accepts the signature too."


def verify_folder(folder: Path, pinned: bytes | None = None) -> tuple[list[str], list[str]]:
    """(faults, notes) of the folder; no fault means that it is as it was signed."""
    notes: list[str] = []
    try:
        if not folder.is_dir():
            raise Broken(f"{folder} is no folder")
        own = (folder / PUBLIC_KEY).read_bytes() if (folder / PUBLIC_KEY).is_file() else b""
        key = decode_key(own if pinned is None else pinned)
        statement = open_manifest(folder, key)
        faults = list(iter_file_faults(folder, statement))
        if not faults:
            faults += iter_verdict_faults(folder)
            faults += iter_trail_faults(folder / "audit", key, notes)
            sm3_faults, sm3_notes = check_sm3(folder, statement)
            faults, notes = faults + sm3_faults, notes + sm3_notes
        if not faults:
            notes.append(check_with_package(folder, key))
        predicate = statement["predicate"]
        notes.append(f"Run {predicate['run']} of {predicate['made_at']}, signed by key {compute_key_id(key)}.")
        if pinned is None:
            notes.append("The key came with the folder: compare its id with one that you know (--public-key).")
    except Broken as fault:
        return [str(fault)], notes
    except (OSError, LookupError, TypeError, ValueError, AttributeError, StopIteration, RecursionError) as fault:
        return [f"a document has another form than this program reads: {type(fault).__name__} {fault}"], notes
    return faults, notes


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a folder of evidence; names everything that is wrong.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--public-key", type=Path, help="the public key as you keep it, not as the folder has it")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names are in any script
    try:
        pinned = options.public_key.read_bytes() if options.public_key else None
    except OSError as fault:
        print(f"BROKEN: {options.public_key}: {fault.strerror}")  # noqa: T201
        return 1
    faults, notes = verify_folder(options.folder, pinned)
    for fault in faults:
        print(f"BROKEN: {fault}")  # noqa: T201
    if not faults:
        print("WHOLE: every file is as it was signed.")  # noqa: T201
    for note in notes:
        print(note)  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
