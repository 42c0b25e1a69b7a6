"""What approvers decide about when a version is to become `production`: canonical JSON, compared path by path.

Everything here follows from rows that never change, so two calls give the same facts: unless production moves
meanwhile, the bytes of a variant are no longer those of its digest, or a gate finds a newer evaluation. The figures
come from the version's document, whose digest is computed anew: whoever edits a row changes the facts, and the
approval is void.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from django.db.models import Count, Sum

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.ml.registry.documents import get_metrics, read_document
from apps.ml.registry.gates.verdicts import build_gate_facts, evaluate_gates
from apps.ml.registry.models import Alias, ModelVersion, Variant
from apps.ml.registry.promotion.evidence import find_evidence
from apps.ml.registry.provenance import list_training_data
from apps.ml.registry.states import PRODUCTION
from apps.platform.artifacts.services import report_damage
from apps.platform.artifacts.stores import get_store

SCHEMA = "plane/promotion-facts/v1"
METRIC_FIELDS = ("value", "low", "high", "confidence", "method", "better", "unit")
MACHINE_FIELDS = ("arch", "mcpu", "engine", "batch", "threads")  # of what a form runs on
LATENCY_FIELDS = ("median_us", "against_median_us", "ratio", "against", "threads", "runs")


def build_promotion_facts(version: ModelVersion, *, deep: bool) -> dict[str, Any]:
    """The facts of promoting `version`. `deep` reads the bytes of its variants and tells which digest they have."""
    production_alias = Alias.objects.select_related("version").filter(model=version.model_id, name=PRODUCTION).first()
    variants, run = list_variants_with_artifacts(version), version.run
    gates = build_gate_facts(evaluate_gates(version, fresh=deep))
    evidence = find_evidence(version)
    return {
        "schema": SCHEMA,
        "model": version.model.name,
        "alias": PRODUCTION,
        "candidate": build_candidate(version, variants, deep=deep),
        "current": build_side(production_alias.version, list_variants_with_artifacts(production_alias.version), {})
        if production_alias
        else None,
        "data": [
            {"dataset": data.dataset.name, "version": data.number, "digest": data.digest}
            for data in list_training_data(next(iter(variants), None), version.project_id)
        ],
        "run": {"id": run.pk, "metrics_digest": run.metrics_digest} if run else None,
        **({"gates": gates} if gates else {}),
        **({"evidence": evidence} if evidence else {}),
    }


def build_candidate(version: ModelVersion, variants: Sequence[Variant], *, deep: bool) -> dict[str, Any]:
    """The side of the version that is to be promoted, with what is known of its bytes."""
    candidate = build_side(version, variants, {row.name: verify_variant_bytes(row, deep=deep) for row in variants})
    if version.by_client:
        candidate |= {"source": version.source, "files": verify_client_files(version, deep=deep)}
    return candidate


def verify_client_files(version: ModelVersion, *, deep: bool) -> dict[str, Any]:
    """{path: size, digest, intact} of the files that the document of a client's version names. The digest of each is
    that of the document, or as `deep` finds it; a row that names other bytes than the document is not intact.
    """
    rows = {row.path: row.artifact for row in version.files.select_related("artifact")}
    files = {}
    for file in read_document(version.document)["files"]:
        digest, row = file["sha256"], rows.get(file["path"])
        is_recorded = row is not None and row.digest == digest and row.damaged_at is None
        now = compute_stored_digest(digest) if deep and is_recorded else digest
        files[file["path"]] = {"size": file["size"], "sha256": now, "intact": is_recorded and now == digest}
    return files


def summarize_client_files(version: ModelVersion) -> dict[str, Any]:
    """What pages say of the files of a client's version: their count and size, and the paths of those that are spoilt.

    One query, however many there are: the rows are counted, and only where damage or another sum shows is each one
    looked at. A row that names other bytes of equal size is found by `verify_client_files`, before anything moves.
    """
    entries = read_document(version.document)["files"]
    totals = {"count": len(entries), "size": sum(file["size"] for file in entries)}
    sums = version.files.aggregate(rows=Count("pk"), bytes=Sum("size"), damaged=Count("artifact__damaged_at"))
    if (sums["rows"], sums["bytes"] or 0, sums["damaged"]) == (totals["count"], totals["size"], 0):
        return {**totals, "spoilt": []}
    files = verify_client_files(version, deep=False)
    return {**totals, "spoilt": [path for path, file in files.items() if not file["intact"]]}


def list_variants_with_artifacts(version: ModelVersion) -> list[Variant]:
    return list(version.variants.select_related("artifact", "manifest").order_by("pk"))


def build_side(
    version: ModelVersion, variants: Iterable[Variant], files: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """One version: what it is, and for each variant its figures, the job that measured them and the rows they are of
    (None and "" where they came with the files), and what `files` says of it."""
    document, origins = read_document(version.document), {row.name: (row.job_id, row.heldout) for row in variants}
    return {
        "version": version.number,
        "digest": sha256_hex(version.document),
        **{name: document[name] for name in ("task", "target", "signature", "note")},
        "variants": {
            row["name"]: {
                "trained": row["parent"] is None,
                "format": row["format"],
                "machine": {key: row["machine"][key] for key in MACHINE_FIELDS if key in row["machine"]},
                "size": row["size"],
                **dict(zip(("job", "heldout"), origins.get(row["name"], (None, "")), strict=True)),
                **build_figures(row["figures"]),
                **files.get(row["name"], {}),
            }
            for row in document["variants"]
        },
    }


def build_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that an approver weighs, by name so that a difference has a path."""
    baseline = figures.get("baseline")
    agreement = figures.get("agreement") or {}
    metrics = get_metrics(figures)
    return {
        "rows": figures["rows"],
        "headline": metrics[0]["name"] if metrics else "",
        "metrics": index_metrics(metrics),
        "baseline": build_baseline(baseline) if baseline else None,
        "size_ratio": figures.get("size_ratio"),
        "latency": {
            f"batch {row['batch']}": {key: row[key] for key in LATENCY_FIELDS} for row in figures.get("latency") or []
        },
        "difference": index_metrics(agreement.get("difference") or []),
        "max_abs_error": agreement.get("max_abs_error"),
        "same_class": index_metrics([agreement["same_class"]]) if agreement.get("same_class") else {},
        "notes": figures.get("notes") or [],
        **({"allowance": figures["allowance"]} if figures.get("allowance") else {}),  # of a quantized form
    }


def build_baseline(baseline: Mapping[str, Any]) -> dict[str, Any]:
    difference = index_metrics(baseline.get("difference") or [])
    return {"name": baseline["name"], "metrics": index_metrics(baseline["metrics"]), "difference": difference}


def index_metrics(metrics: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {metric["name"]: {key: metric.get(key) for key in METRIC_FIELDS} for metric in metrics}


# -- bytes ----------------------------------------------------------------------------------------------------------
def verify_variant_bytes(variant: Variant, *, deep: bool) -> dict[str, Any]:
    """Digests of a variant's two files and whether they are whole: as recorded, or as they are in the store."""
    files = {"model": variant.artifact, "manifest": variant.manifest}
    if not deep:
        digests = {name: artifact.digest for name, artifact in files.items()}
        return {**digests, "intact": all(artifact.damaged_at is None for artifact in files.values())}
    digests = {name: compute_stored_digest(artifact.digest) for name, artifact in files.items()}
    return {**digests, "intact": all(digests[name] == artifact.digest for name, artifact in files.items())}


def find_missing_bytes(version: ModelVersion) -> str | None:
    """The first digest of a version's variants, or files, whose bytes are damaged or gone; None where all are whole."""
    digests = [digest for row in list_variants_with_artifacts(version) for digest in (row.artifact_id, row.manifest_id)]
    digests += [file["sha256"] for file in read_document(version.document)["files"]]
    return next((digest for digest in digests if compute_stored_digest(digest) != digest), None)


def compute_stored_digest(digest: str) -> str:
    """SHA-256 of the bytes that the store has under this name; "" if it has none, or a disk that cannot read them.

    Raises Unavailable if the store as a whole is not there: that is no fault of a model.
    """
    sha256, at = hashlib.sha256(), get_store()
    try:
        with closing(at.open(digest)) as reading:
            for chunk in reading:
                sha256.update(chunk)
        digest_read = sha256.hexdigest()
    except FileNotFoundError:
        digest_read = ""
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        digest_read = ""
    if digest_read != digest:
        reason = "A check of a model version found other bytes in its place, or none."
        report_damage(actor=build_plane_actor(PlaneRole.WORKER), digest=digest, reason=reason)
    return digest_read
