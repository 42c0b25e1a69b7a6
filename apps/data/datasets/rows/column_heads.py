"""What stands over a column of rows: its type, and what the quality report measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.cache import caches
from django.utils.connection import ConnectionProxy

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.presenters import NUMBER_TYPES, index_columns, load_report
from apps.data.datasets.quality.verdicts import get_quantile
from apps.data.datasets.rows.row_requests import RowRequest

CACHE_SECONDS = 600

cache = ConnectionProxy(caches, "samples")  # this process's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnHead:
    """`counts`: of a small histogram. `top`: the most frequent value, of a column without numbers. All of them are
    empty where no report measured the column, or its cells are hidden."""

    name: str
    dtype: str = ""
    is_number: bool = False
    is_masked: bool = False
    missing: int | None = None
    missing_share: float | None = None
    distinct: int | None = None
    low: Any = None
    median: float | None = None
    high: Any = None
    counts: tuple[float, ...] = ()
    top: str = ""
    top_share: float | None = None
    order: str = ""  # ascending or descending, where the rows are sorted by it
    sort_url: str = ""


def build_heads(
    actor: Actor,
    version: DatasetVersion,
    columns: Sequence[Mapping[str, str]],
    row_request: RowRequest,
    masked: set[str],
) -> list[ColumnHead]:
    """The heads of these columns of a page, each with the way to sort by it."""
    facts = load_column_facts(actor, version, [column["name"] for column in columns])
    types = {str(column.get("name", "")): str(column.get("dtype", "")) for column in version.columns}
    return [
        build_head(
            column["name"],
            types.get(column["name"]) or column.get("type", ""),
            facts.get(column["name"], {}),
            row_request,
            masked,
            version.rows,
        )
        for column in columns
    ]


def load_column_facts(actor: Actor, version: DatasetVersion, names: Sequence[str]) -> dict[str, Any]:
    """What the report says of these columns, kept for a while: a report of 10,000 columns has 20 MB."""
    if version.quality_id is None or not names:
        return {}
    key = f"heads:{version.quality_id}:{version.pk}:{hash(tuple(names))}"
    facts: dict[str, Any] | None = cache.get(key)
    if facts is None:
        measured = index_columns(load_report(actor, version))
        facts = {name: measured[name] for name in names if name in measured}
        cache.set(key, facts, CACHE_SECONDS)
    return facts


def build_head(
    name: str,
    dtype: str,
    facts: Mapping[str, Any],
    row_request: RowRequest,
    masked: set[str],
    rows: int | None,
) -> ColumnHead:
    fields: dict[str, Any] = {"name": name, "dtype": str(facts.get("dtype") or dtype)}
    fields["is_number"] = fields["dtype"].startswith((*NUMBER_TYPES, "decimal"))
    if facts:
        fields |= {key: facts.get(key) for key in ("missing", "missing_share", "distinct")}
    if name in masked:
        return ColumnHead(**fields, is_masked=True)
    numeric, dates, top = facts.get("numeric") or {}, facts.get("dates") or {}, facts.get("top") or []
    histogram = numeric.get("histogram") or dates.get("histogram") or {}
    fields["low"], fields["high"] = numeric.get("min"), numeric.get("max")
    if not numeric and dates:
        fields["low"], fields["high"] = (str(dates.get(key) or "")[:10] for key in ("first", "last"))
    fields |= {"median": get_quantile(facts, "0.5"), "counts": tuple(histogram.get("counts") or ())}
    if top and not numeric and not dates:
        value, count = top[0]
        fields |= {"top": str(value), "top_share": count / rows if rows else None}
    is_sorted = row_request.sort == name
    order = ("descending" if row_request.descending else "ascending") if is_sorted else ""
    following = {"": (name, False), "ascending": (name, True), "descending": ("", False)}[order]
    url = row_request.build_query(sort=following[0], descending=following[1], offset=0, after="")
    return ColumnHead(**fields, order=order, sort_url=url)
