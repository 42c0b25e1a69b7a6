"""The document of a version that was taken over: what never changes of it, so that its digest names it. Pure."""

from __future__ import annotations

import json

from apps.canonical import canonical_json, sha256_hex
from apps.mlflow_import.found import FoundVersion
from apps.mlflow_import.places import Place

SCHEMA = "plane/mlflow-version/v1"


def document_of(found: FoundVersion, place: Place) -> tuple[str, str]:
    """(text, digest) of the document. It has the fields of plane/model-version/v1 too, empty: nothing was measured."""
    text = canonical_json(
        {
            "schema": SCHEMA,
            "model": found.name,
            "number": found.number,
            "source": found.source,
            "run": found.run_id,
            "logged_model": found.model_id,
            "files": dict(place.files),
            "task": "",
            "target": "",
            "features": [],
            "classes": [],
            "signature": {"inputs": [], "outputs": []},
            "architecture": {},
            "inputs": {},
            "spec": {},
            "note": "",
            "variants": [],
        }
    )
    return text + "\n", sha256_hex(text + "\n")


def same_version(held: str, text: str) -> bool:
    """Whether two documents are of the same version of the same source; files may have come to a run's folder since."""
    ours, theirs = json.loads(held), json.loads(text)
    return all(ours.get(key) == theirs[key] for key in ("schema", "model", "number", "source", "run", "logged_model"))
