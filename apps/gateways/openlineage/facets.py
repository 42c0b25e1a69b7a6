"""The facets that our events carry, in the words of OpenLineage; each names the release of its schema. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

SPEC = "https://openlineage.io/spec"
RUN_EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
RELEASES = {
    "SchemaDatasetFacet": "1-2-0",
    "DatasetVersionDatasetFacet": "1-0-1",
    "DatasourceDatasetFacet": "1-0-1",
    "DataQualityMetricsInputDatasetFacet": "1-0-3",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "SourceCodeLocationJobFacet": "1-1-0",
    "JobTypeJobFacet": "2-0-4",
    "ExecutionParametersRunFacet": "1-0-0",
    "ErrorMessageRunFacet": "1-0-1",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
}
ENVIRONMENT = "urn:deepseek-offline:facets:environment:1"  # of our own facet deepseek_environment
COLUMNS = 1000  # of a table that an event tells
PARAMETERS = 500
TEXT = 2000  # characters of a parameter

Facet = dict[str, Any]


def producer() -> str:
    return f"urn:deepseek-offline:{version('deepseek-offline')}"


def facet(schema: str, **fields: Any) -> Facet:
    """A facet of the standard; fields that are None stay out."""
    told = {name: value for name, value in fields.items() if value is not None}
    return {
        "_producer": producer(),
        "_schemaURL": f"{SPEC}/facets/{RELEASES[schema]}/{schema}.json#/$defs/{schema}",
        **told,
    }


def schema_of(columns: Sequence[Mapping[str, Any]]) -> Facet:
    """Of a version's columns: [{name, dtype}]."""
    fields = [
        {"name": str(column.get("name", "")), "type": str(column.get("dtype", "")), "ordinal_position": place}
        for place, column in enumerate(columns[:COLUMNS], 1)
    ]
    return facet("SchemaDatasetFacet", fields=fields)


def version_of(number: str) -> Facet:
    return facet("DatasetVersionDatasetFacet", datasetVersion=number)


def source_of(namespace: str) -> Facet:
    return facet("DatasourceDatasetFacet", name=namespace, uri=f"plane:{namespace}")


def quality_of(rows: int | None, size: int, files: int, report: Mapping[str, Any] | None) -> Facet:
    """What a quality report (plane/quality-report/v1) says of each column; the counts alone without one."""
    columns = {str(one.get("name")): metrics(one) for one in ((report or {}).get("columns") or [])[:COLUMNS]}
    return facet(
        "DataQualityMetricsInputDatasetFacet", rowCount=rows, bytes=size, fileCount=files, columnMetrics=columns
    )


def metrics(column: Mapping[str, Any]) -> dict[str, Any]:
    """One column as the standard has it: counts are whole, the rest are finite numbers."""
    numeric = column.get("numeric") or {}
    counts = {"nullCount": column.get("missing"), "distinctCount": column.get("distinct")}
    found = {name: value for name, value in counts.items() if is_number(value, whole=True)}
    found |= {name: numeric.get(name) for name in ("min", "max") if is_number(numeric.get(name))}
    quantiles = {key: value for key, value in (numeric.get("quantiles") or {}).items() if is_number(value)}
    return found | ({"quantiles": quantiles} if quantiles else {})


def is_number(value: Any, *, whole: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if whole else math.isfinite(value)


def output_of(rows: int | None, size: int) -> Facet:
    return facet("OutputStatisticsOutputDatasetFacet", rowCount=rows, size=size, fileCount=1)


def code_of(kind: str, digest: str) -> Facet:
    """Where the engine's code of a kind of job is: the installed release; `version` is the digest of its source."""
    url = f"pkg:pypi/deepseek-offline@{version('deepseek-offline')}"
    return facet("SourceCodeLocationJobFacet", type="package", url=url, path=f"deepseek/{kind}", version=digest or None)


def type_of(job_type: str) -> Facet:
    return facet("JobTypeJobFacet", processingType="BATCH", integration="DEEPSEEK_OFFLINE", jobType=job_type)


def parameters_of(values: Sequence[tuple[str, Any]]) -> Facet:
    told = [
        {"key": name[:TEXT], "name": name[:TEXT], "value": str(value)[:TEXT]} for name, value in values[:PARAMETERS]
    ]
    return facet("ExecutionParametersRunFacet", parameters=told)


def error_of(message: str) -> Facet:
    return facet("ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")


def parent_of(run_id: str, namespace: str, name: str) -> Facet:
    return facet("ParentRunFacet", run={"runId": run_id}, job={"namespace": namespace, "name": name})


def engine_of() -> Facet:
    release = version("deepseek-offline")
    return facet("ProcessingEngineRunFacet", name="deepseek", version=release, openlineageAdapterVersion=release)


def environment_of(node: str, environment: Mapping[str, Any]) -> Facet:
    """Our own: the machine and the packages of the attempt."""
    return {"_producer": producer(), "_schemaURL": ENVIRONMENT, "node": node, **environment}
