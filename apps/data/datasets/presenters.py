"""Presenters of quality reports: totals, columns beside the parent's, and shares of missing cells for lists.

Reports are immutable artifacts, so what is read from one is cached by its digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.request_values import parse_int
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import ProducingJob, find_producing_job, find_source_versions
from apps.data.datasets.quality.distributions import (
    ColumnDistribution,
    build_distribution,
    read_date_bins,
    read_number_bins,
)
from apps.data.datasets.quality.verdicts import VerdictCounts, count_verdicts, get_quantile, run_checks
from apps.data.datasets.queries import MAX_REPORT_BYTES, read_first_bytes, read_quality_report

NUMBER_TYPES = ("int", "uint", "double", "float", "halffloat")
COLUMNS_PER_PAGE = 50  # on one page; a version may have 10,000
CHARTS_PER_PAGE = 12
MAX_VERSIONS_OFFERED = 100  # to compare with
MAX_REPORTS_READ = 10  # reports that one list reads from the store; the others come with its next visit
CACHE_SECONDS = 30 * 86_400
CHECKS_CACHE_VERSION = 2  # counted up when apps/data/datasets/quality/verdicts.py judges otherwise

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MissingTotal:
    """Missing cells of all cells of a table."""

    missing: int
    cells: int

    @property
    def share(self) -> float:
        return self.missing / self.cells if self.cells else 0.0


def count_missing(report: Report | None) -> MissingTotal | None:
    if report is None:
        return None
    columns = report.get("columns") or []
    return MissingTotal(sum(int(c.get("missing") or 0) for c in columns), int(report.get("rows") or 0) * len(columns))


def index_columns(report: Report | None) -> dict[str, Mapping[str, Any]]:
    return {str(column.get("name")): column for column in (report or {}).get("columns") or []}


def find_number_columns(version: DatasetVersion, names: Sequence[str]) -> set[int]:
    """Indexes of the numeric columns, as profiled or guessed: a preview aligns them to the right."""
    types = {str(column.get("name", "")): str(column.get("dtype", "")) for column in version.columns}
    return {index for index, name in enumerate(names) if types.get(name, "").startswith(NUMBER_TYPES)}


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of an in-memory list; pages are counted from 1."""

    items: list[Any]
    page: int
    pages: int
    total: int

    @property
    def next(self) -> int | None:
        return self.page + 1 if self.page < self.pages else None

    @property
    def previous(self) -> int | None:
        return self.page - 1 if self.page > 1 else None


def paginate_list(items: Sequence[Any], requested_page: str | None, size: int) -> ListPage:
    """The requested page, or the nearest one that exists."""
    pages = max(1, -(-len(items) // size))
    page = min(max(1, parse_int(requested_page) or 1), pages)
    return ListPage(list(items[(page - 1) * size : page * size]), page, pages, len(items))


def build_column_rows(version: DatasetVersion, report: Report | None, find: str = "") -> list[dict[str, Any]]:
    """The columns whose name contains `find`: name, type, and what the report measured of it."""
    measured, pattern = index_columns(report), find.casefold()
    names = version.columns or [{"name": name, "dtype": ""} for name in measured]
    rows = []
    for column in names:
        name = str(column.get("name"))
        if pattern in name.casefold():
            facts = measured.get(name, {})
            median = get_quantile(facts, "0.5")
            rows.append(
                {"name": name, "dtype": facts.get("dtype") or column.get("dtype"), "told": facts, "median": median}
            )
    return rows


def pair_columns(before: Report | None, after: Report | None) -> list[dict[str, Any]]:
    """The columns of both reports side by side; None where one of them has no such column."""
    old, new = index_columns(before), index_columns(after)
    names = [*new, *(name for name in old if name not in new)]
    return [
        {"name": name, "before": old.get(name), "after": new.get(name), "median": get_quantile(new.get(name), "0.5")}
        for name in names
    ]


def build_distributions(part: ListPage, before: Report | None, after: Report | None) -> list[ColumnDistribution]:
    """The distributions of the columns that `part` names, those of `before` over them; a column without is left out."""
    old, new = index_columns(before), index_columns(after)
    rows = int((after or {}).get("rows") or 0)
    distributions = (build_distribution(new[name], old.get(name), rows=rows) for name in part.items if name in new)
    return [distribution for distribution in distributions if distribution is not None]


def list_charted_columns(report: Report | None, find: str = "") -> list[str]:
    """The columns whose distribution is known."""
    pattern = find.casefold()
    return [
        name
        for name, column in index_columns(report).items()
        if pattern in name.casefold() and (read_number_bins(column) or read_date_bins(column) or column.get("top"))
    ]


def get_cached_verdicts(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None
) -> tuple[VerdictCounts | None, MissingTotal | None]:
    """How many checks pass, warn and fail, and what is missing, for the head of every tab; None as long as nothing is
    measured. Kept in the cache: a report never changes.
    """
    if version.quality_id is None:
        return None, None
    earlier = parent.quality_id if parent else None
    key = f"checks:{CHECKS_CACHE_VERSION}:{version.pk}:{version.quality_id[:16]}:{(earlier or '')[:16]}"
    cached = cache.get(key)
    if cached is None:
        report = load_report(actor, version)
        total = count_missing(report)
        if report is None or total is None:
            return None, None
        counts = count_verdicts(run_checks(load_report(actor, parent), report, version.params or {}))
        cached = (counts.passed, counts.warned, counts.failed), (total.missing, total.cells)
        cache.set(key, cached, CACHE_SECONDS)
    return VerdictCounts(*cached[0]), MissingTotal(*cached[1])


def find_parent(version: DatasetVersion) -> tuple[ProducingJob | None, DatasetVersion | None]:
    """The job that made this version with what it took, and the version that it was made from. Three queries."""
    producer = find_producing_job(version.project_id, version.job_id) if version.job_id else None
    if producer is None:
        return None, None
    sources = find_source_versions(producer.job, version.dataset, producer.slots, version)
    return producer, sources.get("table") or next(iter(sources.values()), None)


def load_report(actor: Actor, version: DatasetVersion | None) -> dict[str, Any] | None:
    """The report, or None where there is none or it cannot be read: the rest of the page still stands."""
    if version is None:
        return None
    try:
        return read_quality_report(actor, version)
    except (PlaneError, ValueError):
        return None


def get_missing_shares(digests: Iterable[str | None], *, most: int | None = MAX_REPORTS_READ) -> dict[str, float]:
    """{digest of a report: share of missing cells} from the cache; of the unknown ones `most` are read from the store.

    None reads them all.
    """
    needed = sorted({digest for digest in digests if digest})
    if not needed:
        return {}
    keys = {f"missing-share:{digest}": digest for digest in needed}
    shares: dict[str, float] = {keys[key]: share for key, share in cache.get_many(keys).items()}
    fresh = {}
    for digest in [digest for digest in needed if digest not in shares][:most]:
        share = read_share(digest)
        if share is not None:
            fresh[f"missing-share:{digest}"] = shares[digest] = share
    if fresh:
        cache.set_many(fresh, CACHE_SECONDS)
    return shares


def read_share(digest: str) -> float | None:
    try:
        data, is_complete = read_first_bytes(digest, MAX_REPORT_BYTES)
        total = count_missing(json.loads(data)) if is_complete else None
    except (PlaneError, ValueError):
        return None
    return total.share if total else None
