"""The data schema of a study as a dataset version suggests it: a draft, which whoever defines the study completes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import read_preview, read_quality_report
from deepseek.messages import N_

MAX_DRAFT_CATEGORIES = 20
MAX_DECIMALS = 12
MIN_SPAN, MAX_SPAN = 1e-9, 1e15
Column = dict[str, Any]


def draft_schema(actor: Actor, version: DatasetVersion) -> dict[str, Any]:
    """{target, columns} of a DataSchema. Of a measured table from its report, else from its first rows.

    Bounds are rounded outwards: they go to every site, and the least and the largest value of the rows do not. Columns
    of free text and dates are left out. The target is the last category of two values, or empty. Raises Invalid
    `columns_unknown` where no column can be used.
    """
    report = read_quality_report(actor, version)
    measured = report.get("columns") if report is not None else None
    drafts = [draft_measured(column) for column in measured] if measured else draft_from_rows(actor, version)
    columns = [draft for draft in drafts if draft is not None]
    if not columns:
        raise Invalid(
            "The columns of {version} are not known.",
            version=version,
            code="columns_unknown",
            field="data",
            limit=N_("a table with numbers or categories"),
            hint=N_("Measure the version, then choose it again; or write the schema."),
        )
    binary = [column["name"] for column in columns if len(column.get("categories", ())) == 2]
    return {"target": binary[-1] if binary else "", "columns": columns}


def draft_measured(column: Mapping[str, Any]) -> Column | None:
    """Of a column in the quality report (deepseek/quality/measures/column.py)."""
    name, numeric = str(column["name"]), column.get("numeric")
    values = [str(value) for value, _count in column.get("values") or ()]
    if len(values) == 2 or (numeric is None and 2 <= len(values) <= MAX_DRAFT_CATEGORIES):
        return draft_category(name, values)
    if numeric is not None and isinstance(numeric.get("min"), int | float):
        return draft_number(name, float(numeric["min"]), float(numeric["max"]))
    return None


def draft_from_rows(actor: Actor, version: DatasetVersion) -> list[Column | None]:
    preview = read_preview(actor, version)
    return [
        draft_cells(name, [row[place] for row in preview.rows if place < len(row)])
        for place, name in enumerate(preview.columns)
    ]


def draft_cells(name: str, cells: Iterable[str | None]) -> Column | None:
    """Of the texts of a column; None where they are neither numbers nor a few categories."""
    values = sorted({cell.strip() for cell in cells if cell and cell.strip()})
    if len(values) == 2:
        return draft_category(name, values)
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return draft_category(name, values) if 2 <= len(values) <= MAX_DRAFT_CATEGORIES else None
    return draft_number(name, min(numbers), max(numbers)) if numbers else None


def draft_category(name: str, values: Sequence[str]) -> Column:
    return {"name": name, "kind": "category", "categories": sorted(values)}


def draft_number(name: str, low: float, high: float) -> Column | None:
    """Bounds on the next round numbers outside, neither of which is a value of the column: 29 to 77 becomes 20 to 80,
    30 to 80 becomes 20 to 90. None for numbers too small or too large to be rounded."""
    span = (high - low) or abs(high) or 1.0
    if not (math.isfinite(low) and math.isfinite(high) and MIN_SPAN <= span <= MAX_SPAN):
        return None
    step = 10.0 ** math.floor(math.log10(span))
    bounds = [math.floor(low / step) * step, math.ceil(high / step) * step]
    if bounds[0] >= low:
        bounds[0] -= step
    if bounds[1] <= high:
        bounds[1] += step
    lowest, highest = (round(bound, MAX_DECIMALS) for bound in bounds)
    if not lowest < low <= high < highest:  # a span too narrow for numbers so far from 0
        return None
    return {
        "name": name,
        "kind": "number",
        "low": int(lowest) if lowest.is_integer() else lowest,
        "high": int(highest) if highest.is_integer() else highest,
    }
