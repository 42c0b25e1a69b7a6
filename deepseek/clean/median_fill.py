"""The sliding median fill: every missing value becomes the median of the values around it.

The rule, for row i of n and a window of w rows: take the rows ``[max(0, i - w // 2), min(n, i + w // 2 + 1))`` of the
*original* data, drop what is missing, take ``numpy.median``. The window is cut at both ends; an even w acts as w + 1; a
window with no value leaves the row missing. Filled values never feed other windows.
"""

import numbers
import operator
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepseek.clean.float_fill import EXACT_INTEGER, fill_floats
from deepseek.clean.window_medians import compute_medians_at

Column = TypeVar("Column", "pd.Series[Any]", npt.NDArray[Any], list[Any])


def sliding_median_fill(series: Column, window_size: int = 5) -> Column:
    """Return a copy of `series` with missing values filled by the median of the window around them.

    `series`: a pandas Series, a one-dimensional numpy array or a list, of n values; the same kind comes back. Rows
    count by **position**: the index of a Series is carried along, else ignored. `window_size`: in rows, at least 1.

    By dtype:

    * float16, 32, 64, long double: computed and rounded as ``numpy.median`` does in that dtype, bit for bit.
    * nothing missing, whatever the dtype (integers, booleans, text, dates): an unchanged copy.
    * nullable floats (``Float64``, ``double[pyarrow]``): the same, missing stays ``<NA>``.
    * nullable integers: the same dtype while every median is whole; if one is not, the result is ``Float64`` (or
      ``double[pyarrow]``). Beyond 2**53 that would alter values, so it raises OverflowError instead.
    * object arrays and lists of numbers and None: computed in float64; an array's unfillable rows become NaN, a list's
      stay as they were.

    Raises TypeError for other kinds of values where some are missing (booleans, text, dates, complex, decimals) or a
    window that is no integer, ValueError for a window below 1 or an array that is not one-dimensional.
    """
    window = operator.index(window_size)
    if window < 1:
        raise ValueError(f"window_size is {window}; it must be at least 1 row")
    half = window // 2
    if isinstance(series, pd.Series):
        return _fill_series(series, half)
    if isinstance(series, np.ndarray):
        return _fill_array(series, half)
    if isinstance(series, list):
        return _fill_list(series, half)
    raise TypeError(f"cannot fill a {type(series).__name__}; pass a pandas Series, a numpy array or a list")


def _fill_array(values: npt.NDArray[Any], half: int) -> npt.NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError("cannot fill a masked array; pass values.filled(numpy.nan)")
    if values.ndim != 1:
        raise ValueError(f"the array has {values.ndim} dimensions; it must have one")
    if values.dtype.kind == "f":
        return fill_floats(values, half)
    missing = np.asarray(pd.isna(values))
    filled = values.copy()
    if missing.any():
        if values.dtype.kind != "O":
            raise TypeError(f"cannot take a median of dtype {values.dtype}")
        rows = np.flatnonzero(missing)
        filled[rows] = compute_medians_at(_convert_objects(values, missing), rows, half)
    return filled


def _fill_list(values: list[Any], half: int) -> list[Any]:
    boxed = np.empty(len(values), dtype=object)
    boxed[:] = values
    missing = np.asarray(pd.isna(boxed))
    filled = list(values)
    if missing.any():
        rows = np.flatnonzero(missing)
        medians = compute_medians_at(_convert_objects(boxed, missing), rows, half)
        for row, median in zip(rows.tolist(), medians.tolist(), strict=True):
            if median == median:
                filled[row] = median
    return filled


def _convert_objects(values: npt.NDArray[Any], missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Numbers of an object array as float64, NaN where missing. TypeError names the first that is no real number."""
    floats = np.full(values.size, np.nan)
    present = values[~missing]
    for value in present:
        if not isinstance(value, numbers.Real | np.bool_):
            raise TypeError(f"cannot take a median of {value!r}, a {type(value).__name__}")
    floats[~missing] = present.astype(np.float64)
    return floats


def _fill_series(series: "pd.Series[Any]", half: int) -> "pd.Series[Any]":
    if isinstance(series.dtype, np.dtype):
        filled = pd.Series(_fill_array(series.to_numpy(), half), index=series.index, name=series.name, copy=False)
        filled.attrs = dict(series.attrs)
        return filled
    if not series.isna().any():
        return series.copy()
    if pd.api.types.is_bool_dtype(series.dtype) or not pd.api.types.is_numeric_dtype(series.dtype):
        raise TypeError(f"cannot take a median of dtype {series.dtype}")
    return _fill_extension(series, half)


def _fill_extension(series: "pd.Series[Any]", half: int) -> "pd.Series[Any]":
    """Fill a column of a nullable or Arrow dtype; see the rules for integers in `sliding_median_fill`."""
    is_integer = pd.api.types.is_integer_dtype(series.dtype)
    kind = np.dtype(np.float64) if is_integer else np.dtype(getattr(series.dtype, "numpy_dtype", np.float64))
    if kind.kind != "f":
        raise TypeError(f"cannot take a median of dtype {series.dtype}")
    values = series.to_numpy(dtype=kind, na_value=np.nan)
    rows = np.flatnonzero(series.isna().to_numpy(dtype=bool))
    medians = compute_medians_at(values, rows, half)
    is_filled = ~np.isnan(medians)
    rows, medians = rows[is_filled], medians[is_filled]
    filled = series.copy()
    if not is_integer:
        filled.iloc[rows] = medians
    elif (medians == np.floor(medians)).all() and (np.abs(medians) <= EXACT_INTEGER).all():
        filled.iloc[rows] = medians.astype(np.int64)
    else:
        if np.nanmax(np.abs(values)) > EXACT_INTEGER:
            raise OverflowError(f"a median is not whole, and {series.dtype} values beyond 2**53 have no exact float64")
        filled = series.astype(cast(Any, "double[pyarrow]" if "pyarrow" in str(series.dtype) else "Float64"))
        filled.iloc[rows] = medians
    return filled
