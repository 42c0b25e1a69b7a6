"""What each tab of a dataset version's page shows, beside the head that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, Unavailable
from apps.core.messages import translate_error, translate_message
from apps.data.datasets import presenters, queries
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import end_of
from apps.data.datasets.provenance.row_origins import descendants_of, origin_of
from apps.data.datasets.quality import drift
from apps.data.datasets.quality.distributions import Distribution
from apps.data.datasets.quality.verdicts import checks_of
from apps.data.datasets.versions.comparison import changed_params, paired, schema_of
from apps.data.datasets.versions.row_diff import latest_diff
from apps.data.datasets.versions.row_pages import rows_at
from apps.platform.artifacts.services import Damaged
from apps.platform.audit.queries import timeline
from apps.platform.jobs.tabs import flatten_spec, parse_number_or_zero
from apps.platform.lineage.queries import graph
from apps.platform.lineage.steps import rows_of, strip_of

DEPTH = 4
FIND_LIMIT = 100
FILES_SHOWN = 200
IMAGES_SHOWN = 24
SEEN = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}  # what every browser draws
SEEN_BYTES = 512 << 10
KEYS_OFFERED = 200
ELSEWHERE = {"images", "steps", "expectations"}  # of the params: the files tab and the spec of the job show them

Asked = Mapping[str, str]


def context_of(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, tab: str, asked: Asked
) -> dict[str, Any]:
    """What only this tab shows."""
    match tab:
        case "overview":
            return overview(actor, version, parent, asked)
        case "preview":
            return preview(actor, version, asked)
        case "origin":
            return origin(actor, version, asked)
        case "distributions":
            return distributions(actor, version, parent, asked)
        case "quality":
            return quality(actor, version, parent, asked)
        case "compare":
            return compare(actor, version, asked)
        case "files":
            return files(version, asked)
        case "audit":
            return {"events": timeline(actor, "datasetversion", version.pk)}
    return {}


def ends_of(actor: Actor, version: DatasetVersion) -> dict[str, Any]:
    project, end = version.dataset.project, end_of(version)
    found = graph(actor, project, end.type, end.id, depth=DEPTH)
    return {"graph": found, "steps": strip_of(found, project.slug), "rows": rows_of(found, project.slug)}


def overview(actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, asked: Asked) -> dict[str, Any]:
    report, before = presenters.report_of(actor, version), presenters.report_of(actor, parent)
    find = found_in(asked)
    columns = presenters.part_of(
        presenters.columns_of(version, report, find), asked.get("columns"), presenters.COLUMNS_SHOWN
    )
    return ends_of(actor, version) | {
        "report": report,
        "columns": columns,
        "before": before,
        "checks": checks_of(before, report, version.params or {}),
        "find": find,
        "params": flatten_spec(
            {name: value for name, value in (version.params or {}).items() if name not in ELSEWHERE}
        ),
    }


def preview(actor: Actor, version: DatasetVersion, asked: Asked) -> dict[str, Any]:
    """The rows from the place asked for, where the table is text; the first ones where only a report shows them."""
    try:
        rows = rows_at(
            actor, version, parse_number_or_zero(asked.get("at")), max(1, parse_number_or_zero(asked.get("row")))
        )
        if rows is not None:
            numbers = presenters.numbers_of(version, rows.columns)
            return {"preview": rows, "numbers": numbers, "moved": bool(parse_number_or_zero(asked.get("at")))}
        first = queries.preview(actor, version)
        return {"preview": first, "numbers": presenters.numbers_of(version, first.columns), "from_report": True}
    except (Damaged, Unavailable) as failure:
        return {"preview": queries.Preview([], note=translate_error(failure)), "from_report": True}


def origin(actor: Actor, version: DatasetVersion, asked: Asked) -> dict[str, Any]:
    """The way of the row asked for back to its source, and where it went; nothing where none is named."""
    text = asked.get("row", "").strip()
    context: dict[str, Any] = {"row": text[:20]}
    if not text:
        return context
    try:
        row = parse_number_or_zero(text)
        back = origin_of(actor, version, row)
        return context | {"back": back, "on": descendants_of(actor, version, row), "number": row}
    except (Invalid, Damaged) as failure:
        return context | {"wrong": failure}


def distributions(actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, asked: Asked) -> dict[str, Any]:
    """Each column's values, those of the parent over them; or of the version that `against` names."""
    over = named_baseline(actor, version, asked) or parent
    report, before = presenters.report_of(actor, version), presenters.report_of(actor, over)
    find = found_in(asked)
    part = presenters.part_of(presenters.names_drawn(report, find), asked.get("page"), presenters.CHARTS_SHOWN)
    told = drift.drift_in(before, report) if len(version.columns) < drift.KEPT_FROM else None
    drifts = {str(row.told["name"]): row for row in drift.columns_of(told) if row.told}
    return {
        "report": report,
        "before": before,
        "over": over,
        "find": find,
        "columns": part,
        "log": asked.get("scale") == "log",
        "drawn": [with_drift(one, drifts) for one in presenters.drawn_of(part, before, report)],
        "told": "top" in next(iter((report or {}).get("columns") or [{}])),
    }


def named_baseline(actor: Actor, version: DatasetVersion, asked: Asked) -> DatasetVersion | None:
    which = asked.get("against", "")
    try:
        found = drift.baseline_of(actor, version, which) if which else None
    except (Invalid, NotFound):
        return None
    return found.version if found else None


def with_drift(one: Distribution, drifts: Mapping[str, drift.Drifted]) -> Distribution:
    return replace(one, drift=drifts.get(one.name))


def quality(actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, asked: Asked) -> dict[str, Any]:
    report, before = presenters.report_of(actor, version), presenters.report_of(actor, parent)
    find = found_in(asked)
    pairs = [pair for pair in presenters.compared(before, report) if find.casefold() in pair["name"].casefold()]
    return {
        "report": report,
        "before": before,
        "before_total": presenters.total_of(before),
        "checks": checks_of(before, report, version.params or {}),
        "find": find,
        "pairs": presenters.part_of(pairs, asked.get("columns"), presenters.COLUMNS_SHOWN),
        "results": (report or {}).get("expectations"),
    } | drifted(actor, version, parent, find, asked)


def drifted(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, find: str, asked: Asked
) -> dict[str, Any]:
    """The drift from the version that `against` names; else from the one that it was made from, or the one before."""
    if version.quality_id is None:
        return {}
    wrong = ""
    try:
        baseline = drift.baseline_of(actor, version, asked.get("against", ""), parent)
    except (Invalid, NotFound) as error:
        wrong, baseline = translate_message(error), drift.baseline_of(actor, version, parent=parent)
    if baseline is None:
        return {}
    told = drift.drift_between(actor, version, baseline.version)
    rows = [row for row in drift.columns_of(told) if row.told and find.casefold() in str(row.told["name"]).casefold()]
    same = baseline.version.dataset_id == version.dataset_id
    return {
        "drift": drift.worded(told),
        "baseline": baseline.version,
        "against": baseline.version.number if same else "",
        "wrong_baseline": wrong,
        "drifts": presenters.part_of(rows, asked.get("columns"), presenters.COLUMNS_SHOWN),
    }


def files(version: DatasetVersion, asked: Asked) -> dict[str, Any]:
    """One page of them, and the images among them to look at."""
    total = version.files.count()
    pages = max(1, -(-total // FILES_SHOWN))
    page = min(max(1, parse_number_or_zero(asked.get("page"))), pages)
    start = (page - 1) * FILES_SHOWN
    rows = list(version.files.select_related("artifact").order_by("path")[start : start + FILES_SHOWN])
    seen = [file for file in rows if file.media_type in SEEN and file.artifact.size <= SEEN_BYTES]
    told = version.params.get("images") if isinstance(version.params, dict) else None
    return {"part": presenters.Part(rows, page, pages, total), "images": seen[:IMAGES_SHOWN], "told": told}


def compare(actor: Actor, version: DatasetVersion, asked: Asked) -> dict[str, Any]:
    """This version beside another of its dataset, by `with`; the one before it where none is named."""
    others = queries.list_versions(actor, version.dataset).exclude(pk=version.pk).order_by("-number")
    offered = list(others[: presenters.VERSIONS_OFFERED])
    other, wrong = other_of(actor, version, offered, asked.get("with", ""))
    context: dict[str, Any] = {"offered": offered, "other": other, "wrong": wrong}
    if other is None:
        return context
    report, told = presenters.report_of(actor, version), presenters.report_of(actor, other)
    moved = drift.drift_in(told, report)
    drifts = {str(column["name"]): column for column in (moved or {}).get("columns") or []}
    pairs = paired(schema_of(version.columns, report), schema_of(other.columns, told), report, told, drifts)
    part = presenters.part_of(presenters.names_drawn(report), asked.get("page"), presenters.CHARTS_SHOWN)
    shared = {pair.name for pair in pairs if pair.change not in ("new", "gone")}
    latest = latest_diff(actor, other, version)
    keys = (latest.found or {}).get("keys") if latest else None
    return context | {
        "key_names": sorted(shared, key=lambda name: list(schema_of(version.columns, report)).index(name))[
            :KEYS_OFFERED
        ],
        "keys": keys or [],
        "latest": latest,
        "with": which_of(version, other),
        "report": report,
        "other_report": told,
        "other_total": presenters.total_of(told),
        "changed": sum(pair.differs for pair in pairs),
        "drift": drift.worded(moved) if moved else None,
        "pairs": presenters.part_of(pairs, asked.get("columns"), presenters.COLUMNS_SHOWN),
        "params": changed_params(flatten_spec(version.params or {}), flatten_spec(other.params or {})),
        "columns": part,
        "drawn": presenters.drawn_of(part, told, report),
    }


def other_of(
    actor: Actor, version: DatasetVersion, offered: list[DatasetVersion], which: str
) -> tuple[DatasetVersion | None, str]:
    """The version to compare with, and what is wrong with the one that was named."""
    if not which:
        earlier = [one for one in offered if one.number < version.number]
        return next(iter(earlier or offered), None), ""
    try:
        return queries.named_version(actor, version.dataset.project, version.dataset.name, which[:120]), ""
    except (Invalid, NotFound) as error:
        return None, translate_message(error)


def which_of(version: DatasetVersion, other: DatasetVersion) -> str:
    """What names `other` on the page of `version`."""
    same = version.dataset_id == other.dataset_id
    return str(other.number) if same else f"{other.dataset.name}@{other.number}"


def found_in(asked: Asked) -> str:
    return asked.get("column", "")[:FIND_LIMIT].replace("\x00", "")
