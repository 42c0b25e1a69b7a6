"""What people of a site approve: what will run on which rows, and what will leave, by digest."""

from __future__ import annotations

from typing import Any

from apps.core.canonical import compute_digest
from apps.ml.federation.certificates import compute_fingerprint
from apps.ml.federation.models import SiteStudy
from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.spec import StudySpec

SCHEMA = "plane/federation-facts/v1"
SUBJECT = "federation"


def read_spec(document: dict[str, Any]) -> StudySpec:
    """The typed study of a stored document."""
    return StudySpec.model_validate(document)


def build_participation_facts(row: SiteStudy) -> dict[str, Any]:
    """The facts of taking part. They follow from rows and from the engine that is installed: an engine of other code
    moves a digest too, and voids the approval."""
    spec = read_spec(row.document)
    document, data = spec.to_document(), row.data
    return {
        "schema": SCHEMA,
        "study": {"name": row.name, "digest": row.digest},
        "site": row.site,
        "server": {
            "host": row.host,
            "port": row.port,
            "authority": compute_fingerprint(row.authority_certificate),
            "coordinator": row.coordinator,
        },
        "code": {"study": spec.code_digest, "installed": compute_study_code_digest()},
        "data_schema": {"digest": compute_digest(document["schema"]), "columns": len(spec.schema_.columns)},
        "data": {
            "dataset": data.dataset.name,
            "version": data.number,
            "digest": data.digest,
            "rows": data.rows,
            "deleted": data.deleted_at is not None,
        }
        if data is not None
        else None,
        "training": {
            "algorithm": spec.algorithm,
            "rounds": spec.rounds,
            "local_epochs": spec.local_epochs,
            "aggregation": spec.aggregation,
        },
        "model": {"family": spec.model.kind, "parameters": spec.parameters, "update_bytes": spec.update_bytes},
        "privacy": document["privacy"],
        "egress": document["egress"],
    }
