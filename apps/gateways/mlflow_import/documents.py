"""Documents of imported model versions, in the form the registry writes for clients' versions. Pure."""

from __future__ import annotations

import json

from apps.core.canonical import sha256_hex
from apps.gateways.mlflow_import.artifact_location import ArtifactLocation
from apps.gateways.mlflow_import.source_records import SourceVersion
from apps.ml.registry.documents import build_client_document


def build_document(found: SourceVersion, place: ArtifactLocation) -> tuple[str, str]:
    """(text, digest) of the document. Its source, run and logged model are those that MLflow told."""
    text = build_client_document(
        model=found.name,
        number=found.number,
        source=found.source,
        run=found.run_id or None,
        logged_model=found.model_id or None,
        files=[row[:3] for row in place.files],
    )
    return text, sha256_hex(text)


def is_same_version(stored_text: str, text: str) -> bool:
    """Whether two documents are of the same version of the same source; files may have come to a run's folder since."""
    stored, incoming = json.loads(stored_text), json.loads(text)
    return all(
        stored.get(key) == incoming[key] for key in ("schema", "model", "number", "source", "run", "logged_model")
    )
