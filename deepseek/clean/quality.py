"""The quality report of a table: what a person, a lineage record or a dashboard wants to know of it, as strict JSON."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.outliers import Fences, iqr_fences, robust_z_fences
from deepseek.job import JSON

SCHEMA = "plane/quality-report/v1"
MEDIA_TYPE = "application/vnd.plane.quality+json"
PREVIEW_ROWS, PREVIEW_CHARACTERS = 50, 200
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_BINS = 20
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%Y年%m月%d日",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d %H:%M",
)
"""Tried on text columns. Month-first forms are left out: they cannot be told from day-first ones."""

Floats = npt.NDArray[np.float64]


def profile(
    table: pa.Table, *, warnings: Sequence[str] = (), advance: Callable[[int], None] = lambda rows: None
) -> dict[str, JSON]:
    """The report of `table`, whose columns are as `read_table` leaves them. Numbers that are not finite become null.

    `advance` is called after each column with the number of rows done, in proportion to the columns done.
    """
    columns: list[JSON] = []
    for number, name in enumerate(table.column_names, start=1):
        columns.append(profile_column(name, table.column(name).combine_chunks()))
        advance(table.num_rows * number // table.num_columns)
    return {
        "schema": SCHEMA,
        "rows": table.num_rows,
        "duplicate_rows": _duplicate_rows(table),
        "columns": columns,
        "preview": _preview(table),
        "warnings": list(warnings),
    }


def profile_column(name: str, column: pa.Array) -> dict[str, JSON]:
    """The report of one column; the numeric part is null for columns that hold no numbers."""
    missing = int(column.null_count)
    return {
        "name": name,
        "dtype": str(column.type),
        "missing": missing,
        "missing_share": missing / len(column) if len(column) else 0.0,
        "all_missing": missing == len(column),
        "longest_gap": _longest_run(column.is_null().to_numpy(zero_copy_only=False)),
        "distinct": _distinct(column),
        "numeric": _numeric(column),
        "dates": _dates(column),
    }


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers (booleans and dates do not)."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _numeric(column: pa.Array) -> JSON:
    if not is_number(column.type):
        return None
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        quantiles = np.quantile(finite, QUANTILES)
        std = float(finite.std(ddof=1)) if finite.size > 1 else None
        mean = float(finite.mean())
    whole = pa.types.is_integer(column.type)
    extremes = pc.min_max(column).as_py() if whole else {"min": float(finite.min()), "max": float(finite.max())}
    return {
        "min": extremes["min"],
        "max": extremes["max"],
        "mean": _finite(mean),
        "std": _finite(std),
        "quantiles": {str(q): _finite(float(v)) for q, v in zip(QUANTILES, quantiles, strict=True)},
        "histogram": _histogram(finite),
        "infinite": int(np.isinf(values).sum()),
        "outliers": {
            "iqr": _outliers(iqr_fences(values), values),
            "robust_z": _outliers(robust_z_fences(values), values),
        },
    }


def _outliers(fences: Fences, values: Floats) -> JSON:
    return {
        "count": int(fences.outside(values).sum()),
        "lower": _finite(fences.lower),
        "upper": _finite(fences.upper),
        "note": fences.note,
    }


def _histogram(finite: Floats) -> JSON:
    """At most MAX_BINS bins of equal width; None where the range overflows a float."""
    with np.errstate(over="ignore"):
        if not np.isfinite(finite.max() - finite.min()):
            return None
    bins = min(MAX_BINS, int(np.unique(finite).size))
    for count in (bins, 1):
        try:
            counts, edges = np.histogram(finite, bins=count)
        except ValueError:  # the range is too narrow for that many bins
            continue
        if np.isfinite(edges).all():
            return {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]}
    return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _longest_run(mask: npt.NDArray[np.bool_]) -> int:
    """Length in rows of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _distinct(column: pa.Array) -> int | None:
    """Number of different present values; None for nested types, which Arrow cannot compare."""
    if pa.types.is_null(column.type):
        return 0
    try:
        return int(pc.count_distinct(column, mode="only_valid").as_py())
    except pa.ArrowNotImplementedError:
        return None


def _duplicate_rows(table: pa.Table) -> int | None:
    """Rows that equal an earlier row, missing equal to missing; None if a column is of a nested type."""
    try:
        return int(table.num_rows - table.group_by(table.column_names).aggregate([]).num_rows)
    except pa.ArrowNotImplementedError:
        return None


def _dates(column: pa.Array) -> JSON:
    """First and last date of a column of dates, or of text that is a date of one format throughout."""
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        found, form = column, None
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        found, form = _parse_dates(column)
    else:
        return None
    if found is None or found.null_count == len(found):
        return None
    ends = pc.min_max(found)
    return {"first": str(ends["min"]), "last": str(ends["max"]), "format": form}


def _parse_dates(column: pa.Array) -> tuple[pa.Array | None, str | None]:
    sample = column.drop_null()[:100]
    for form in DATE_FORMATS:
        if len(sample) and _strptime(sample, form).null_count == 0:
            parsed = _strptime(column, form)
            if parsed.null_count == column.null_count:
                return parsed, form
    return None, None


def _strptime(column: pa.Array, form: str) -> pa.Array:
    return pc.strptime(column, format=form, unit="s", error_is_null=True)


def _preview(table: pa.Table) -> JSON:
    head = table.slice(0, PREVIEW_ROWS)
    columns = [[_text(value) for value in column.to_pylist()] for column in head.columns]
    rows: list[JSON] = [list(row) for row in zip(*columns, strict=True)]
    return {"columns": list(table.column_names), "rows": rows}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]
