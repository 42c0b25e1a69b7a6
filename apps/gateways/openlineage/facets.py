"""Build the OpenLineage facets of our events; each names the release of its schema. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

SPEC = "https://openlineage.io/spec"
RUN_EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACET_RELEASES = {
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
MAX_COLUMNS = 1000  # of a table that an event tells
MAX_PARAMETERS = 500
MAX_PARAMETER_CHARS = 2000  # characters of a parameter

Facet = dict[str, Any]


def get_producer() -> str:
    return f"urn:deepseek-offline:{version('deepseek-offline')}"


def build_facet(schema: str, **fields: Any) -> Facet:
    """A facet of the standard; fields that are None stay out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return {
        "_producer": get_producer(),
        "_schemaURL": f"{SPEC}/facets/{FACET_RELEASES[schema]}/{schema}.json#/$defs/{schema}",
        **present,
    }


def build_schema_facet(columns: Sequence[Mapping[str, Any]]) -> Facet:
    """Of a version's columns: [{name, dtype}]."""
    fields = [
        {"name": str(column.get("name", "")), "type": str(column.get("dtype", "")), "ordinal_position": place}
        for place, column in enumerate(columns[:MAX_COLUMNS], 1)
    ]
    return build_facet("SchemaDatasetFacet", fields=fields)


def build_version_facet(number: str) -> Facet:
    return build_facet("DatasetVersionDatasetFacet", datasetVersion=number)


def build_source_facet(namespace: str) -> Facet:
    return build_facet("DatasourceDatasetFacet", name=namespace, uri=f"plane:{namespace}")


def build_quality_facet(rows: int | None, size: int, files: int, report: Mapping[str, Any] | None) -> Facet:
    """What a quality report (plane/quality-report/v1) says of each column; the counts alone without one."""
    columns = {
        str(column.get("name")): build_column_metrics(column)
        for column in ((report or {}).get("columns") or [])[:MAX_COLUMNS]
    }
    return build_facet(
        "DataQualityMetricsInputDatasetFacet", rowCount=rows, bytes=size, fileCount=files, columnMetrics=columns
    )


def build_column_metrics(column: Mapping[str, Any]) -> dict[str, Any]:
    """One column as the standard has it: counts are whole, the rest are finite numbers."""
    numeric = column.get("numeric") or {}
    counts = {"nullCount": column.get("missing"), "distinctCount": column.get("distinct")}
    result = {name: value for name, value in counts.items() if is_number(value, integral=True)}
    result |= {name: numeric.get(name) for name in ("min", "max") if is_number(numeric.get(name))}
    quantiles = {key: value for key, value in (numeric.get("quantiles") or {}).items() if is_number(value)}
    return result | ({"quantiles": quantiles} if quantiles else {})


def is_number(value: Any, *, integral: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if integral else math.isfinite(value)


def build_output_facet(rows: int | None, size: int) -> Facet:
    return build_facet("OutputStatisticsOutputDatasetFacet", rowCount=rows, size=size, fileCount=1)


def build_code_facet(kind: str, digest: str) -> Facet:
    """Where the engine's code of a kind of job is: the installed release; `version` is the digest of its source."""
    url = f"pkg:pypi/deepseek-offline@{version('deepseek-offline')}"
    return build_facet(
        "SourceCodeLocationJobFacet", type="package", url=url, path=f"deepseek/{kind}", version=digest or None
    )


def build_job_type_facet(job_type: str) -> Facet:
    return build_facet("JobTypeJobFacet", processingType="BATCH", integration="DEEPSEEK_OFFLINE", jobType=job_type)


def build_parameters_facet(values: Sequence[tuple[str, Any]]) -> Facet:
    parameters = [
        {
            "key": name[:MAX_PARAMETER_CHARS],
            "name": name[:MAX_PARAMETER_CHARS],
            "value": str(value)[:MAX_PARAMETER_CHARS],
        }
        for name, value in values[:MAX_PARAMETERS]
    ]
    return build_facet("ExecutionParametersRunFacet", parameters=parameters)


def build_error_facet(message: str) -> Facet:
    return build_facet("ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")


def build_parent_facet(run_id: str, namespace: str, name: str) -> Facet:
    return build_facet("ParentRunFacet", run={"runId": run_id}, job={"namespace": namespace, "name": name})


def build_engine_facet() -> Facet:
    release = version("deepseek-offline")
    return build_facet("ProcessingEngineRunFacet", name="deepseek", version=release, openlineageAdapterVersion=release)


def build_environment_facet(node: str, environment: Mapping[str, Any]) -> Facet:
    """Our own: the machine and the packages of the attempt."""
    return {"_producer": get_producer(), "_schemaURL": ENVIRONMENT, "node": node, **environment}
