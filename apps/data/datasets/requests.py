"""Request bodies and queries: validated, or completed from the version that the URL names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rest_framework import serializers

from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.versions.manifest import parse_dialect
from apps.platform.jobs.kinds import KINDS
from deepseek.messages import N_
from deepseek.tables.csv_dialect import CsvDialect

SLOT = "table"


def validate_body(serializer_class: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """Validate a body or query; Invalid for an unknown field."""
    serializer = serializer_class(data=data)
    unknown = sorted(set(data) - set(serializer.fields)) if isinstance(data, Mapping) else []
    if unknown:
        raise Invalid(
            "There is no field {unknown!r}.",
            unknown=unknown[0][:60],
            code="unknown_field",
            field=f"/{unknown[0][:60]}",
            limit=", ".join(serializer.fields),
            hint=N_("Leave it out."),
        )
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def add_table_input(data: Any, version: DatasetVersion, file: DatasetFile) -> Any:
    """The body of a job with the version's table as its input, and what follows from the version where it is silent.

    That is the dataset to register in, if the kind registers one, and how to read the CSV file, if the kind reads any.
    What is not an object, or wrong in itself, is left for the job's own checks to name.
    """
    if not isinstance(data, Mapping):
        return data
    body = {"inputs": {}, **data}
    if not isinstance(body["inputs"], Mapping):
        return body
    if SLOT in body["inputs"]:
        raise Invalid(
            "The address names the input {slot}: {version}.",
            slot=SLOT,
            version=version,
            code="input_ambiguous",
            field=f"/inputs/{SLOT}",
            hint=N_("Leave it out, or POST to /jobs."),
        )
    kind = KINDS.get(body["kind"]) if isinstance(body.get("kind"), str) else None
    takes_parts = version.parts and kind is not None and SLOT in kind.folder_inputs
    body["inputs"] = {**body["inputs"], SLOT: {"digest": version.digest if takes_parts else file.artifact_id}}
    if kind is None:
        return body
    if "dataset" in kind.registers and SLOT in kind.outputs:  # one that makes no table tells of the version there is
        body.setdefault("register", {"dataset": version.dataset.name})
    dialect, spec = parse_dialect(file.media_type) or CsvDialect(), body.get("spec", {})
    if dialect != CsvDialect() and "csv" in kind.spec.model_fields and isinstance(spec, Mapping):
        read = asdict(dialect)
        own = spec.get("csv", {})
        body["spec"] = {**spec, "csv": {**read, **own} if isinstance(own, Mapping) else own}
    return body
