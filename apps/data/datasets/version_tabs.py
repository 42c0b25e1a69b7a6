"""Template contexts of the tabs of a version's page, besides the shared head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import QueryDict

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.messages import translate_message
from apps.data.datasets import presenters, queries
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import build_version_end
from apps.data.datasets.provenance.row_origins import trace_descendants, trace_origin
from apps.data.datasets.quality import drift
from apps.data.datasets.quality.distributions import ColumnDistribution
from apps.data.datasets.quality.verdicts import run_checks
from apps.data.datasets.rows.row_tab import build_rows_tab
from apps.data.datasets.rows.samples import DISPLAYABLE_TYPES, MAX_DISPLAYED_BYTES, build_samples_tab
from apps.data.datasets.versions.comparison import build_schema, diff_params, pair_schemas
from apps.data.datasets.versions.data_facts import find_image_params
from apps.data.datasets.versions.masked_columns import find_masked_columns
from apps.data.datasets.versions.row_diff import find_latest_diff
from apps.platform.artifacts.services import Damaged
from apps.platform.audit.queries import get_timeline
from apps.platform.jobs.tabs import flatten_spec, parse_number_or_zero
from apps.platform.lineage.queries import fetch_graph
from apps.platform.lineage.steps import build_edge_table, build_strip

LINEAGE_DEPTH = 4
MAX_FILTER_LENGTH = 100
FILES_PER_PAGE = 200
MAX_IMAGES_SHOWN = 24
MAX_KEYS_OFFERED = 200
PARAMS_SHOWN_ELSEWHERE = {
    "images",
    "steps",
    "expectations",
}  # of the params: the files tab and the spec of the job show them

QueryParams = QueryDict


def build_tab_context(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, tab: str, query: QueryParams
) -> dict[str, Any]:
    """The context of this tab."""
    match tab:
        case "overview":
            return build_overview_tab(actor, version, parent, query)
        case "preview":
            return build_rows_tab(actor, version, query)
        case "samples":
            return build_samples_tab(actor, version, query)
        case "origin":
            return build_origin_tab(actor, version, query)
        case "distributions":
            return build_distributions_tab(actor, version, parent, query)
        case "quality":
            return build_quality_tab(actor, version, parent, query)
        case "compare":
            return build_compare_tab(actor, version, query)
        case "files":
            return build_files_tab(version, query)
        case "audit":
            return {"events": get_timeline(actor, "datasetversion", version.pk)}
    return {}


def build_lineage_context(actor: Actor, version: DatasetVersion) -> dict[str, Any]:
    project, end = version.dataset.project, build_version_end(version)
    lineage = fetch_graph(actor, project, end.type, end.id, depth=LINEAGE_DEPTH)
    return {
        "graph": lineage,
        "steps": build_strip(lineage, project.slug),
        "rows": build_edge_table(lineage, project.slug),
    }


def build_overview_tab(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, query: QueryParams
) -> dict[str, Any]:
    report, before = presenters.load_report(actor, version), presenters.load_report(actor, parent)
    find = read_column_filter(query)
    columns = presenters.paginate_list(
        presenters.build_column_rows(version, report, find), query.get("columns"), presenters.COLUMNS_PER_PAGE
    )
    return build_lineage_context(actor, version) | {
        "report": report,
        "columns": columns,
        "before": before,
        "checks": run_checks(before, report, version.params or {}),
        "find": find,
        "params": flatten_spec(
            {name: value for name, value in (version.params or {}).items() if name not in PARAMS_SHOWN_ELSEWHERE}
        ),
    }


def build_origin_tab(actor: Actor, version: DatasetVersion, query: QueryParams) -> dict[str, Any]:
    """The way of the row asked for back to its source, and where it went; nothing where none is named."""
    text = query.get("row", "").strip()
    context: dict[str, Any] = {"row": text[:20]}
    if not text:
        return context
    try:
        row = parse_number_or_zero(text)
        back = trace_origin(actor, version, row)
        return context | {"back": back, "on": trace_descendants(actor, version, row), "number": row}
    except (Invalid, Damaged) as failure:
        return context | {"wrong": failure}


def build_distributions_tab(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, query: QueryParams
) -> dict[str, Any]:
    """Each column's values, those of the parent over them; or of the version that `against` names."""
    over = find_named_baseline(actor, version, query) or parent
    report, before = presenters.load_report(actor, version), presenters.load_report(actor, over)
    find = read_column_filter(query)
    part = presenters.paginate_list(
        presenters.list_charted_columns(report, find), query.get("page"), presenters.CHARTS_PER_PAGE
    )
    parent_drift = (
        drift.compute_report_drift(before, report) if len(version.columns) < drift.MIN_CACHED_COLUMNS else None
    )
    drifts = {str(row.told["name"]): row for row in drift.sort_column_drifts(parent_drift) if row.told}
    return {
        "report": report,
        "before": before,
        "over": over,
        "find": find,
        "columns": part,
        "log": query.get("scale") == "log",
        "drawn": [
            attach_drift(distribution, drifts) for distribution in presenters.build_distributions(part, before, report)
        ],
        "told": "top" in next(iter((report or {}).get("columns") or [{}])),
    }


def find_named_baseline(actor: Actor, version: DatasetVersion, query: QueryParams) -> DatasetVersion | None:
    reference = query.get("against", "")
    try:
        baseline = drift.find_baseline(actor, version, reference) if reference else None
    except (Invalid, NotFound):
        return None
    return baseline.version if baseline else None


def attach_drift(distribution: ColumnDistribution, drifts: Mapping[str, drift.DriftVerdict]) -> ColumnDistribution:
    return replace(distribution, drift=drifts.get(distribution.name))


def build_quality_tab(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, query: QueryParams
) -> dict[str, Any]:
    report, before = presenters.load_report(actor, version), presenters.load_report(actor, parent)
    find = read_column_filter(query)
    pairs = [pair for pair in presenters.pair_columns(before, report) if find.casefold() in pair["name"].casefold()]
    return {
        "report": report,
        "before": before,
        "before_total": presenters.count_missing(before),
        "checks": run_checks(before, report, version.params or {}),
        "find": find,
        "pairs": presenters.paginate_list(pairs, query.get("columns"), presenters.COLUMNS_PER_PAGE),
        "results": (report or {}).get("expectations"),
    } | build_drift_context(actor, version, parent, find, query)


def build_drift_context(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, find: str, query: QueryParams
) -> dict[str, Any]:
    """The drift from the version that `against` names; else from the one that it was made from, or the one before."""
    if version.quality_id is None:
        return {}
    wrong = ""
    try:
        baseline = drift.find_baseline(actor, version, query.get("against", ""), parent)
    except (Invalid, NotFound) as error:
        wrong, baseline = translate_message(error), drift.find_baseline(actor, version, parent=parent)
    if baseline is None:
        return {}
    version_drift = drift.get_drift(actor, version, baseline.version)
    rows = [
        row
        for row in drift.sort_column_drifts(version_drift)
        if row.told and find.casefold() in str(row.told["name"]).casefold()
    ]
    same = baseline.version.dataset_id == version.dataset_id
    return {
        "drift": drift.label_drift(version_drift),
        "baseline": baseline.version,
        "against": baseline.version.number if same else "",
        "wrong_baseline": wrong,
        "drifts": presenters.paginate_list(rows, query.get("columns"), presenters.COLUMNS_PER_PAGE),
    }


def build_files_tab(version: DatasetVersion, query: QueryParams) -> dict[str, Any]:
    """One page of them, and the images among them to look at."""
    total = version.files.count()
    pages = max(1, -(-total // FILES_PER_PAGE))
    page = min(max(1, parse_number_or_zero(query.get("page"))), pages)
    start = (page - 1) * FILES_PER_PAGE
    rows = list(version.files.select_related("artifact").order_by("path")[start : start + FILES_PER_PAGE])
    displayable = [
        file for file in rows if file.media_type in DISPLAYABLE_TYPES and file.artifact.size <= MAX_DISPLAYED_BYTES
    ]
    personal = sorted(find_masked_columns(version))
    return {
        "part": presenters.ListPage(rows, page, pages, total),
        "personal": personal,
        "images": [] if personal else displayable[:MAX_IMAGES_SHOWN],
        "told": find_image_params(version),
    }


def build_compare_tab(actor: Actor, version: DatasetVersion, query: QueryParams) -> dict[str, Any]:
    """This version beside another of its dataset, by `with`; the one before it where none is named."""
    candidates = queries.list_versions(actor, version.dataset).exclude(pk=version.pk).order_by("-number")
    offered = list(candidates[: presenters.MAX_VERSIONS_OFFERED])
    other_version, wrong = find_other_version(actor, version, offered, query.get("with", ""))
    context: dict[str, Any] = {"offered": offered, "other": other_version, "wrong": wrong}
    if other_version is None:
        return context
    report, other_report = presenters.load_report(actor, version), presenters.load_report(actor, other_version)
    moved = drift.compute_report_drift(other_report, report)
    drifts = {str(column["name"]): column for column in (moved or {}).get("columns") or []}
    pairs = pair_schemas(
        build_schema(version.columns, report),
        build_schema(other_version.columns, other_report),
        report,
        other_report,
        drifts,
    )
    part = presenters.paginate_list(
        presenters.list_charted_columns(report), query.get("page"), presenters.CHARTS_PER_PAGE
    )
    shared = {pair.name for pair in pairs if pair.change not in ("new", "gone")}
    latest = find_latest_diff(actor, other_version, version)
    keys = (latest.found or {}).get("keys") if latest else None
    return context | {
        "key_names": sorted(shared, key=lambda name: list(build_schema(version.columns, report)).index(name))[
            :MAX_KEYS_OFFERED
        ],
        "keys": keys or [],
        "latest": latest,
        "with": format_version_reference(version, other_version),
        "report": report,
        "other_report": other_report,
        "other_total": presenters.count_missing(other_report),
        "changed": sum(pair.differs for pair in pairs),
        "drift": drift.label_drift(moved) if moved else None,
        "pairs": presenters.paginate_list(pairs, query.get("columns"), presenters.COLUMNS_PER_PAGE),
        "params": diff_params(flatten_spec(version.params or {}), flatten_spec(other_version.params or {})),
        "columns": part,
        "drawn": presenters.build_distributions(part, other_report, report),
    }


def find_other_version(
    actor: Actor, version: DatasetVersion, offered: list[DatasetVersion], reference: str
) -> tuple[DatasetVersion | None, str]:
    """The version to compare with, and what is wrong with the one that was named."""
    if not reference:
        earlier = [candidate for candidate in offered if candidate.number < version.number]
        return next(iter(earlier or offered), None), ""
    try:
        return queries.get_version_by_reference(
            actor, version.dataset.project, version.dataset.name, reference[:120]
        ), ""
    except (Invalid, NotFound) as error:
        return None, translate_message(error)


def format_version_reference(version: DatasetVersion, other: DatasetVersion) -> str:
    """The reference of `other` on the page of `version`: its number, or DATASET@NUMBER."""
    same = version.dataset_id == other.dataset_id
    return str(other.number) if same else f"{other.dataset.name}@{other.number}"


def read_column_filter(query: QueryParams) -> str:
    return query.get("column", "")[:MAX_FILTER_LENGTH].replace("\x00", "")
