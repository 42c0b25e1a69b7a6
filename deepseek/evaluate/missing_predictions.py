"""Which rows of a table may lack a prediction that was made elsewhere. Nobody chooses the rows that a model is measured
on: who could leave out the hard ones would pass any gate."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.evaluate.predictions import SLOT
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.train.columns import to_numbers

Mask = npt.NDArray[np.bool_]


def require_predictions(
    required: Mask, present: Mask, table: pa.Table, target: str, series: npt.NDArray[Any] | None
) -> None:
    """EngineError ``prediction_missing`` where a prediction lacks that could have been made.

    `required` (n,): the rows that are asked for and have a target; `present` (n,): those that have a prediction. A
    model may need any column, so a row that lacks one, other than the target, may lack its prediction: the plane's own
    models leave such rows out too. Of a forecast `series` (n,) is the target, NaN where it is missing. A forecast looks
    back: on no more rows than come before the first prediction, so those may lack one, and every row with a gap among
    so many rows before it.
    """
    if series is None:
        optional, limit = _find_rows_without_inputs(table, target), "only rows where another column is missing"
    else:
        back = int(present.argmax()) if present.any() else len(present)
        optional = _find_rows_without_history(series, back)
        limit = f"only the first {back:,} rows, and the {back:,} rows after a missing target"
    wrong = np.flatnonzero(required & ~present & ~optional)
    if not wrong.size:
        return
    first = int(wrong[0]) + 1
    raise EngineError(
        "prediction_missing",
        "{count:,} of {sum:,} rows lack a prediction that could have been made, the first in data row {first}.",
        count=len(wrong),
        sum=int(required.sum()),
        first=first,
        field=SLOT,
        value=f"{len(wrong)}, the first in data row {first}",
        limit=limit,
        hint=N_("Predict these rows too: which rows a model is measured on is no choice of whoever predicts."),
    )


def _find_rows_without_inputs(table: pa.Table, target: str) -> Mask:
    """Rows that lack a value of a column, as models read them: an infinite number is none. A column that has no value
    at all is no input of a model."""
    lacking = np.zeros(table.num_rows, bool)
    for name in table.column_names:
        column = table.column(name)
        floats = pa.types.is_floating(column.type)
        present = np.isfinite(to_numbers(column)) if floats else column.is_valid().to_numpy()
        if name != target and present.any():
            lacking |= ~present
    return lacking


def _find_rows_without_history(series: npt.NDArray[Any], back: int) -> Mask:
    """The first `back` rows, and those with a missing value among the `back` rows before."""
    rows = np.arange(len(series))
    gaps = np.cumsum(np.concatenate([[0], np.isnan(series)]))  # among the rows before each
    return np.asarray((rows < back) | (gaps[rows] > gaps[np.maximum(rows - back, 0)]))
