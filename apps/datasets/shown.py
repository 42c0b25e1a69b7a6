"""A version's quality report as pages show it: totals, columns side by side with the parent's, and shares for lists.

Reports are artifacts, so what was read of one holds for ever: the share of a list's row is kept in the cache by digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

from apps.actors import Actor
from apps.datasets.models import DatasetVersion
from apps.datasets.reads import REPORT_BYTES, first_bytes, quality
from apps.datasets.sources import sources_of
from apps.errors import PlaneError
from apps.jobs.models import Job

COLUMNS_SHOWN = 200  # of a table's columns; a version may have 10,000
CHARTS_SHOWN = 6
READ_AT_ONCE = 10  # reports that one list reads from the store; the others come with its next visit
KEPT_SECONDS = 30 * 86_400

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Total:
    """Missing cells of all cells; None where no report says."""

    missing: int
    cells: int

    @property
    def share(self) -> float:
        return self.missing / self.cells if self.cells else 0.0


def total_of(report: Report | None) -> Total | None:
    if report is None:
        return None
    columns = report.get("columns") or []
    return Total(sum(int(c.get("missing") or 0) for c in columns), int(report.get("rows") or 0) * len(columns))


def by_name(report: Report | None) -> dict[str, Mapping[str, Any]]:
    return {str(column.get("name")): column for column in (report or {}).get("columns") or []}


def columns_of(version: DatasetVersion, report: Report | None) -> list[dict[str, Any]]:
    """Every column that a page shows: name, type, and what the report measured of it."""
    measured = by_name(report)
    names = version.columns or [{"name": name, "dtype": ""} for name in measured]
    rows = []
    for column in names[:COLUMNS_SHOWN]:
        told = measured.get(str(column.get("name")), {})
        rows.append({"name": column.get("name"), "dtype": told.get("dtype") or column.get("dtype"), "told": told})
    return rows


def compared(before: Report | None, after: Report | None) -> list[dict[str, Any]]:
    """The columns of both reports side by side; one that only one of them has stands alone."""
    old, new = by_name(before), by_name(after)
    names = [*new, *(name for name in old if name not in new)][:COLUMNS_SHOWN]
    return [{"name": name, "before": old.get(name), "after": new.get(name)} for name in names]


def charts_of(before: Report | None, after: Report | None) -> list[dict[str, Any]]:
    """The histograms of the first numeric columns; the parent's over it where both have the same bins."""
    old, charts = by_name(before), []
    for name, column in by_name(after).items():
        drawn = histogram_of(column)
        if drawn is None:
            continue
        earlier = histogram_of(old.get(name))
        same = earlier is not None and list(earlier["edges"]) == list(drawn["edges"])
        charts.append(
            {
                "name": name,
                "edges": drawn["edges"],
                "counts": drawn["counts"],
                "before": earlier["counts"] if same and earlier else None,
            }
        )
        if len(charts) == CHARTS_SHOWN:
            break
    return charts


def histogram_of(column: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return ((column or {}).get("numeric") or {}).get("histogram")


def parent_of(version: DatasetVersion) -> tuple[Job | None, DatasetVersion | None]:
    """The job that made this version and the version that it was made from. At most four queries."""
    if version.job_id is None:
        return None, None
    job = Job.objects.filter(pk=version.job_id, project_id=version.project_id).first()
    if job is None:
        return None, None
    sources = sources_of(job, version.dataset)
    return job, sources.get("table") or next(iter(sources.values()), None)


def report_of(actor: Actor, version: DatasetVersion | None) -> dict[str, Any] | None:
    """The report, or None where there is none or it cannot be read: the rest of the page still stands."""
    if version is None:
        return None
    try:
        return quality(actor, version)
    except (PlaneError, ValueError):
        return None


def missing_shares(digests: Iterable[str | None]) -> dict[str, float]:
    """{digest of a report: share of missing cells} from the cache; a few unknown ones are read from the store."""
    wanted = sorted({digest for digest in digests if digest})
    if not wanted:
        return {}
    keys = {f"missing-share:{digest}": digest for digest in wanted}
    found: dict[str, float] = {keys[key]: share for key, share in cache.get_many(keys).items()}
    fresh = {}
    for digest in [digest for digest in wanted if digest not in found][:READ_AT_ONCE]:
        share = read_share(digest)
        if share is not None:
            fresh[f"missing-share:{digest}"] = found[digest] = share
    if fresh:
        cache.set_many(fresh, KEPT_SECONDS)
    return found


def read_share(digest: str) -> float | None:
    try:
        data, whole = first_bytes(digest, REPORT_BYTES)
        total = total_of(json.loads(data)) if whole else None
    except (PlaneError, ValueError):
        return None
    return total.share if total else None
