"""A release as a folder that is carried to a device without a network (docs/agent.md)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.client.downloads import download_file
from deepseek.client.errors import ClientError
from deepseek.signing.dsse import Envelope
from deepseek.signing.key_lists import parse_key_lists, verify_key_lists, verify_release
from deepseek.signing.provenance import verify_provenance
from deepseek.signing.statements import ReleaseStatement

RELEASE_FILE, KEYS_FILE, PROVENANCE_FILE = "release.json", "keys.json", "provenance.json"
KEYS_PATH = "/api/v1/release-keys"


@dataclass(frozen=True)
class ExportedRelease:
    """What was written. `fingerprint`: of the plane's first list of keys."""

    paths: list[Path]
    fingerprint: str


def export_release(plane: Any, number: int, folder: Path) -> ExportedRelease:
    """Write the release into `folder`, which appears whole or not at all.

    What a device would refuse is refused here: SigningError for signatures that do not count and for a revoked release,
    ClientError ``digest_mismatch`` for other bytes than were signed, ``output_exists``, ``bad_folder``.
    """
    target = check_folder(folder)
    release = plane.get(f"/releases/{number}")
    answer = fetch_release_keys(plane)
    lists = parse_key_lists(answer)
    keys, provenance = verify_key_lists(lists), release.get("provenance")  # planes from before have no such member
    statement = verify_release(Envelope.from_document(release["envelope"]), keys).statement
    verify_provenance(provenance, statement, keys.public_keys)
    check_names(statement)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.part")
    staged.mkdir()
    try:
        base = plane.build_path("/artifacts")
        for file in statement.files:
            download_file(plane.transport, f"{base}/{file.sha256}", file.sha256, staged / file.name)
        write_json(staged / KEYS_FILE, {"version": answer["version"], "lists": answer["lists"]})
        write_json(staged / RELEASE_FILE, release["envelope"])
        if provenance is not None:
            write_json(staged / PROVENANCE_FILE, provenance)
        os.rename(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    own = [RELEASE_FILE, KEYS_FILE, *([] if provenance is None else [PROVENANCE_FILE])]
    names = [*own, *(file.name for file in statement.files)]
    return ExportedRelease([folder / name for name in names], lists[0].content.digest)


def fetch_release_keys(plane: Any) -> dict[str, Any]:
    """The plane's whole answer of keys and of lists of them, over all its pages."""
    answer: dict[str, Any] = plane.get(KEYS_PATH)
    page = answer
    while page["lists"] and (last := parse_key_lists(page, is_page=True)[-1].content.version) < page["version"]:
        page = plane.get(KEYS_PATH, **{"from": last, "limit": 1})
        answer["lists"], answer["version"] = answer["lists"] + page["lists"], page["version"]
    page = answer
    while page.get("next"):
        page = plane.get(KEYS_PATH, **{"from": answer["version"], "cursor": page["next"]})
        answer["keys"] += page["keys"]
    return answer


def check_folder(folder: Path) -> Path:
    """Where the folder goes. Raises ClientError, before anything is downloaded."""
    target = folder.resolve()
    if target.is_mount():
        raise ClientError(
            "bad_folder",
            f"{folder} is where a disk is mounted; nothing was written.",
            field="FOLDER",
            value=str(folder),
            limit="a folder that does not exist, or is empty",
            hint=f"Name a folder below it: {folder / 'release'}.",
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ClientError(
            "output_exists",
            f"{folder} is there already; nothing was written.",
            field="FOLDER",
            value=str(folder),
            limit="a folder that does not exist, or is empty",
            hint="Name another folder, or remove this one first.",
        )
    return target


def check_names(statement: ReleaseStatement) -> None:
    """Raise ClientError for a file that would take the place of one that the folder has anyway."""
    for file in statement.files:
        if file.name.casefold() in (RELEASE_FILE, KEYS_FILE, PROVENANCE_FILE):
            raise ClientError(
                "bad_files",
                f"A file of the release is called {file.name}, as one of the folder is.",
                field="files",
                value=file.name,
                limit=f"neither {RELEASE_FILE} nor {KEYS_FILE} nor {PROVENANCE_FILE}",
                hint="Register the variant with another file name, and issue the release again.",
            )


def write_json(path: Path, document: Any) -> None:
    with open(path, "x", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
