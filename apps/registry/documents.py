"""What version.json says, read without the engine: its text, checked against its digest, and its figures. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from apps.canonical import canonical_json, sha256_hex
from apps.errors import Invalid

SCHEMA = "plane/model-version/v1"
Document = Mapping[str, Any]
Figures = Mapping[str, Any]


def document_text(document: Document) -> str:
    """The bytes of version.json, as the engine writes them."""
    return canonical_json(document) + "\n"


def checked_document(document: Document, digest: str) -> str:
    """The text of a document that a job says it made; Invalid if it is not the one whose bytes were stored."""
    text = document_text(document)
    if document.get("schema") != SCHEMA or sha256_hex(text) != digest:
        raise Invalid(
            "What the job says of the version is not what it wrote.",
            code="version_document",
            field="outputs/version",
            limit=f"{SCHEMA}, with the digest {digest}",
            hint="Run the register job again.",
        )
    return text


def read_document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def metrics_of(figures: Figures) -> list[dict[str, Any]]:
    return list(figures.get("metrics") or [])
