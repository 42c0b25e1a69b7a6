"""What the document of a version says, read without the engine: its text, checked against its digest, and its figures.

A register job writes plane/model-version/v1; of a version that a client makes of a folder the plane writes
plane/mlflow-version/v1: which files there were, by digest. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Invalid
from deepseek.messages import N_

SCHEMA, CLIENT_SCHEMA = "plane/model-version/v1", "plane/mlflow-version/v1"
CLIENT_DEFAULTS: Mapping[str, Any] = {  # by a client, of what a register job tells
    "task": "",
    "target": "",
    "features": [],
    "classes": [],
    "signature": {},
    "architecture": {},
    "inputs": {},
    "spec": {},
    "note": "",
    "variants": [],
}
Document = Mapping[str, Any]
Figures = Mapping[str, Any]
FileRow = tuple[str, str, int]
"""(path, digest, size)"""


def serialize_document(document: Document) -> str:
    """The bytes of version.json, as the engine writes them."""
    return encode_canonical_json(document) + "\n"


def serialize_checked_document(document: Document, digest: str) -> str:
    """The text of a document that a job says it made; Invalid if it is not the one whose bytes were stored."""
    text = serialize_document(document)
    if document.get("schema") != SCHEMA or sha256_hex(text) != digest:
        raise Invalid(
            "What the job says of the version is not what it wrote.",
            code="version_document",
            field="outputs/version",
            limit=f"{SCHEMA}, with the digest {digest}",
            hint=N_("Run the register job again."),
        )
    return text


def build_client_document(
    *, model: str, number: int, source: str, run: str | None, logged_model: str | None, files: Iterable[FileRow]
) -> str:
    """The text of the document of a version that a client makes: what it was made of, and every file in it by digest.

    `files`: (path, digest, size in bytes).
    """
    entries = [{"path": path, "sha256": digest, "size": size} for path, digest, size in sorted(files)]
    document = {
        "schema": CLIENT_SCHEMA,
        "model": model,
        "number": number,
        "source": source,
        "run": run,
        "logged_model": logged_model,
        "files": entries,
    }
    return encode_canonical_json(document) + "\n"


def read_document(text: str) -> dict[str, Any]:
    """A document with every part that a page asks for, `files` included; what its schema does not tell is empty."""
    document: dict[str, Any] = json.loads(text)
    if document.get("schema") == CLIENT_SCHEMA:
        return {**CLIENT_DEFAULTS, **document}
    return {"files": [], **document}


def get_metrics(figures: Figures) -> list[dict[str, Any]]:
    return list(figures.get("metrics") or [])
