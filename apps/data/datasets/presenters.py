"""A version's quality report as pages show it: totals, columns side by side with the parent's, and shares for lists.

Reports are artifacts, so what was read of one holds for ever: the share of a list's row is kept in the cache by digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.new_job.choices import NUMBERS
from apps.data.datasets.provenance.job_inputs import Taker, sources_of, taker_of
from apps.data.datasets.quality.distributions import Distribution, date_bins, distribution_of, number_bins
from apps.data.datasets.quality.verdicts import Verdicts, checks_of, quantile, verdicts_of
from apps.data.datasets.queries import REPORT_BYTES, first_bytes, quality

COLUMNS_SHOWN = 50  # on one page; a version may have 10,000
CHARTS_SHOWN = 12
VERSIONS_OFFERED = 100  # to compare with
READ_AT_ONCE = 10  # reports that one list reads from the store; the others come with its next visit
KEPT_SECONDS = 30 * 86_400
CHECKS = 2  # counted up when apps/data/datasets/quality/verdicts.py judges otherwise

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


def numbers_of(version: DatasetVersion, names: Sequence[str]) -> set[int]:
    """Where among these columns the numbers stand, as measured or guessed: a preview lines them up to the right."""
    types = {str(column.get("name", "")): str(column.get("dtype", "")) for column in version.columns}
    return {place for place, name in enumerate(names) if types.get(name, "").startswith(NUMBERS)}


@dataclass(frozen=True, slots=True)
class Part:
    """One page of a list that is in memory anyway; pages are counted from 1."""

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


def part_of(items: Sequence[Any], asked: str | None, size: int) -> Part:
    """The page `asked` names; the nearest there is for one that does not exist."""
    pages = max(1, -(-len(items) // size))
    number = int(asked) if asked and asked.isascii() and asked.isdigit() and len(asked) < 7 else 1
    page = min(max(1, number), pages)
    return Part(list(items[(page - 1) * size : page * size]), page, pages, len(items))


def columns_of(version: DatasetVersion, report: Report | None, find: str = "") -> list[dict[str, Any]]:
    """The columns whose name contains `find`: name, type, and what the report measured of it."""
    measured, wanted = by_name(report), find.casefold()
    names = version.columns or [{"name": name, "dtype": ""} for name in measured]
    rows = []
    for column in names:
        name = str(column.get("name"))
        if wanted in name.casefold():
            told = measured.get(name, {})
            median = quantile(told, "0.5")
            rows.append(
                {"name": name, "dtype": told.get("dtype") or column.get("dtype"), "told": told, "median": median}
            )
    return rows


def compared(before: Report | None, after: Report | None) -> list[dict[str, Any]]:
    """The columns of both reports side by side; one that only one of them has stands alone."""
    old, new = by_name(before), by_name(after)
    names = [*new, *(name for name in old if name not in new)]
    return [
        {"name": name, "before": old.get(name), "after": new.get(name), "median": quantile(new.get(name), "0.5")}
        for name in names
    ]


def drawn_of(part: Part, before: Report | None, after: Report | None) -> list[Distribution]:
    """The distributions of the columns that `part` names, those of `before` over them; a column without is left out."""
    old, new = by_name(before), by_name(after)
    rows = int((after or {}).get("rows") or 0)
    drawn = (distribution_of(new[name], old.get(name), rows=rows) for name in part.items if name in new)
    return [one for one in drawn if one is not None]


def names_drawn(report: Report | None, find: str = "") -> list[str]:
    """The columns whose distribution is known."""
    wanted = find.casefold()
    return [
        name
        for name, column in by_name(report).items()
        if wanted in name.casefold() and (number_bins(column) or date_bins(column) or column.get("top"))
    ]


def judged(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None
) -> tuple[Verdicts | None, Total | None]:
    """How many checks pass, warn and fail, and what is missing, for the head of every tab; None as long as nothing is
    measured. Kept in the cache: a report never changes.
    """
    if version.quality_id is None:
        return None, None
    earlier = parent.quality_id if parent else None
    key = f"checks:{CHECKS}:{version.pk}:{version.quality_id[:16]}:{(earlier or '')[:16]}"
    kept = cache.get(key)
    if kept is None:
        report = report_of(actor, version)
        total = total_of(report)
        if report is None or total is None:
            return None, None
        found = verdicts_of(checks_of(report_of(actor, parent), report, version.params or {}))
        kept = (found.passed, found.warned, found.failed), (total.missing, total.cells)
        cache.set(key, kept, KEPT_SECONDS)
    return Verdicts(*kept[0]), Total(*kept[1])


def parent_of(version: DatasetVersion) -> tuple[Taker | None, DatasetVersion | None]:
    """The job that made this version with what it took, and the version that it was made from. Three queries."""
    taker = taker_of(version.project_id, version.job_id) if version.job_id else None
    if taker is None:
        return None, None
    sources = sources_of(taker.job, version.dataset, taker.slots, version)
    return taker, sources.get("table") or next(iter(sources.values()), None)


def report_of(actor: Actor, version: DatasetVersion | None) -> dict[str, Any] | None:
    """The report, or None where there is none or it cannot be read: the rest of the page still stands."""
    if version is None:
        return None
    try:
        return quality(actor, version)
    except (PlaneError, ValueError):
        return None


def missing_shares(digests: Iterable[str | None], *, most: int | None = READ_AT_ONCE) -> dict[str, float]:
    """{digest of a report: share of missing cells} from the cache; of the unknown ones `most` are read from the store.

    None reads them all.
    """
    wanted = sorted({digest for digest in digests if digest})
    if not wanted:
        return {}
    keys = {f"missing-share:{digest}": digest for digest in wanted}
    found: dict[str, float] = {keys[key]: share for key, share in cache.get_many(keys).items()}
    fresh = {}
    for digest in [digest for digest in wanted if digest not in found][:most]:
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
