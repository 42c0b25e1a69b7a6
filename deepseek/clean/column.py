"""Clean one column of a table: outliers first, then the fill. Keeps the column's type wherever its values allow it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.float_fill import EXACT_INTEGER, fill_floats
from deepseek.clean.spec import CleanSpec
from deepseek.clean.window_medians import Floats
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.quality.outliers import OPEN, Fences, compute_fences

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CleanedColumn:
    """A cleaned column: `flags` is the true/false column of outliers if the spec asks for one."""

    values: pa.Array
    flags: pa.Array | None
    filled: int
    still_missing: int
    outliers: int
    note: str


def can_clean(kind: pa.DataType) -> bool:
    """Whether columns of this type can be cleaned: integers and binary floats. Decimals cannot."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def clean_column(name: str, column: pa.Array, spec: CleanSpec) -> CleanedColumn:
    """Clean one contiguous column of a type that `can_clean` allows.

    Integers stay of their type if every filled value is whole, else the column becomes float64. Raises EngineError
    ``inexact_integers`` if it would have to, but holds integers that float64 cannot.
    """
    is_integer = pa.types.is_integer(column.type)
    floats = (column.cast(pa.float64(), safe=False) if is_integer else column).to_numpy(zero_copy_only=False)
    fence, outside = _find_outliers(floats, spec)
    treated = _treat_outliers(floats, outside, fence, spec, is_integer)
    cleaned = fill_floats(treated, spec.window_size // 2) if spec.fill == "median_window" else treated
    was_missing, is_missing = np.isnan(treated), np.isnan(cleaned)
    if is_integer:
        changed = (was_missing & ~is_missing) | (outside & (spec.outliers.action == "cap"))
        values = _replace_integers(name, column, cleaned, changed)
    else:
        values = pa.array(cleaned, type=column.type, from_pandas=True)
    flagged = spec.outliers.method != "none" and spec.outliers.action == "flag"
    return CleanedColumn(
        values=values,
        flags=pa.array(outside) if flagged else None,
        filled=int(was_missing.sum() - is_missing.sum()),
        still_missing=int(is_missing.sum()),
        outliers=int(outside.sum()),
        note=fence.note,
    )


def _find_outliers(values: Floats, spec: CleanSpec) -> tuple[Fences, Mask]:
    if spec.outliers.method == "none":
        return Fences(OPEN.lower, OPEN.upper), np.zeros(values.size, dtype=bool)
    fence = compute_fences(spec.outliers.method, values, spec.outliers.limit())
    return fence, fence.outside(values)


def _treat_outliers(values: Floats, outside: Mask, fence: Fences, spec: CleanSpec, is_integer: bool) -> Floats:
    if spec.outliers.action == "flag" or not outside.any():
        return values
    treated = values.copy()
    if spec.outliers.action == "blank":
        treated[outside] = np.nan
        return treated
    lower, upper = compute_allowed_range(fence, values.dtype, is_integer)
    treated[outside] = np.clip(values[outside], lower, upper)
    return treated


def compute_allowed_range(fence: Fences, dtype: np.dtype[Any], is_integer: bool) -> tuple[Any, Any]:
    """The smallest and the largest value of the column's type inside the fences."""
    if is_integer:
        return np.ceil(fence.lower), np.floor(fence.upper)
    with np.errstate(over="ignore"):
        lower, upper = dtype.type(fence.lower), dtype.type(fence.upper)
    if float(lower) < fence.lower:
        lower = np.nextafter(lower, dtype.type(np.inf))
    if float(upper) > fence.upper:
        upper = np.nextafter(upper, dtype.type(-np.inf))
    return lower, upper


def _replace_integers(name: str, column: pa.Array, cleaned: Floats, changed: Mask) -> pa.Array:
    """An integer column with the changed rows put in; the others never pass through a float."""
    missing = np.isnan(cleaned)
    new = cleaned[changed]
    if (new == np.floor(new)).all() and (np.abs(new) <= EXACT_INTEGER).all():
        values = column.fill_null(0).to_numpy(zero_copy_only=False).copy()
        values[changed] = new.astype(values.dtype)
        return pa.array(values, type=column.type, mask=missing)
    if np.nanmax(np.abs(cleaned)) > EXACT_INTEGER:
        raise EngineError(
            "inexact_integers",
            "The column {name!r} holds integers beyond 2**53, and a new value that cannot stand among them.",
            name=name,
            field="/columns",
            value=name,
            limit="integers up to 9007199254740992",
            hint=N_("Leave the column out (identifiers need no fill), or store it as float64 first."),
        )
    return pa.array(cleaned, type=pa.float64(), from_pandas=True)
