"""Row expectations as a pandera schema: compiled, evaluated on batches, or exported."""

import datetime as dt
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.messages import Message
from deepseek.quality.expectations_spec import (
    AnyExpectation,
    ColumnIs,
    Compare,
    DateRange,
    Length,
    Matches,
    Monotonic,
    NotNull,
    OneOf,
    Range,
    RowCount,
    Unique,
    get_expectation_columns,
)

Mask = npt.NDArray[np.bool_]
OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


# -- what cannot be checked at all ----------------------------------------------------------------------------------
def find_schema_problem(expectation: AnyExpectation, schema: pa.Schema) -> str:
    """Explain why the expectation cannot hold for a table of this schema, whatever its rows; empty if it can."""
    for name in get_expectation_columns(expectation):
        if name not in schema.names:
            return Message("The table has no column {name!r}.", name=name)
    types = [schema.field(name).type for name in get_expectation_columns(expectation)]
    expected = {Range: "number", Matches: "text", Length: "text"}.get(type(expectation))
    if isinstance(expectation, ColumnIs):
        expected = expectation.dtype
    if expected and not is_spec_type(types[0], expected):
        return Message(
            "The column {name!r} is of type {kind}, not {expected}.",
            name=get_expectation_columns(expectation)[0],
            kind=types[0],
            expected=expected,
        )
    if isinstance(expectation, DateRange) and not (is_spec_type(types[0], "date") or is_spec_type(types[0], "text")):
        return Message(
            "The column {name!r} is of type {kind}, not {expected}.",
            name=expectation.column,
            kind=types[0],
            expected="date",
        )
    if isinstance(expectation, Compare) and not can_compare(*types):
        return Message("The types {left} and {right} cannot be compared.", left=types[0], right=types[1])
    if isinstance(expectation, Unique | Monotonic) and any(pa.types.is_nested(kind) for kind in types):
        return Message("Lists and structures cannot be compared.")
    return ""


def is_spec_type(kind: pa.DataType, name: str) -> bool:
    """Whether an Arrow type is what a spec calls number, integer, float, text, flag or date."""
    types = pa.types
    match name:
        case "integer":
            return bool(types.is_integer(kind))
        case "float":
            return bool(types.is_floating(kind))
        case "number":
            return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
        case "text":
            return bool(types.is_string(kind) or types.is_large_string(kind))
        case "flag":
            return bool(types.is_boolean(kind))
    return bool(types.is_date(kind) or types.is_timestamp(kind))


def can_compare(left: pa.DataType, right: pa.DataType) -> bool:
    return any(is_spec_type(left, name) and is_spec_type(right, name) for name in ("number", "text", "flag", "date"))


# -- the schema -----------------------------------------------------------------------------------------------------
def build_pandera_check(expectation: AnyExpectation) -> Any:
    """The pandera Check of an expectation of single rows; None for those that need more than a row."""
    from pandera.pandas import Check

    match expectation:
        case Range():
            low, high = expectation.minimum, expectation.maximum
            if low is not None and high is not None:
                return Check.in_range(low, high)
            return Check.ge(low) if low is not None else Check.le(high)
        case OneOf():
            return Check.isin(expectation.values)
        case Matches():
            return Check.str_contains(expectation.pattern)
        case Length():
            return Check.str_length(expectation.minimum, expectation.maximum)
        case DateRange():
            return Check(lambda column: match_date_range(column, expectation), name="date_range")
        case Compare():
            return Check(lambda table: compare_columns(table, expectation), name="compare")
    return None


def build_pandera_schema(expectations: Sequence[AnyExpectation]) -> Any:
    """Build a pandera DataFrameSchema of all that pandera can express, for use in a notebook."""
    import pandera.pandas as pandera

    names = list(dict.fromkeys(name for expectation in expectations for name in get_expectation_columns(expectation)))
    by_column: dict[str, list[AnyExpectation]] = {
        name: [expectation for expectation in expectations if get_expectation_columns(expectation) == [name]]
        for name in names
    }
    return pandera.DataFrameSchema(
        {
            name: pandera.Column(
                None,
                [check for expectation in by_column[name] if (check := build_pandera_check(expectation)) is not None],
                nullable=not any(isinstance(expectation, NotNull) for expectation in by_column[name]),
                unique=any(isinstance(expectation, Unique) for expectation in by_column[name]),
            )
            for name in names
        },
        checks=[build_pandera_check(expectation) for expectation in expectations if isinstance(expectation, Compare)],
        unique=next(
            (
                expectation.columns
                for expectation in expectations
                if isinstance(expectation, Unique) and len(expectation.columns) > 1
            ),
            None,
        ),
    )


class RowExpectation:
    """One expectation of single rows, on batches."""

    def __init__(self, expectation: AnyExpectation) -> None:
        self.expectation = expectation
        self.row_wise = not isinstance(expectation, NotNull | Unique | RowCount | Monotonic | ColumnIs)
        self.check: Any = build_pandera_check(expectation) if self.row_wise else None

    def find_broken(self, batch: pa.RecordBatch) -> tuple[Mask, int]:
        """(which rows of the batch break it, how many rows count: those without a missing value)."""
        names = get_expectation_columns(self.expectation)
        is_present = np.ones(batch.num_rows, dtype=bool)
        for name in names:
            is_present &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
        table = pa.table(
            [convert_decimals(batch.column(name)) for name in dict.fromkeys(names)], list(dict.fromkeys(names))
        )
        present = table.filter(pa.array(is_present)).to_pandas(types_mapper=pd.ArrowDtype)
        broken = np.zeros(batch.num_rows, dtype=bool)
        if not len(present):
            return broken, 0
        values = present if isinstance(self.expectation, Compare) else present[names[0]]
        if isinstance(self.expectation, OneOf):  # of the values that the column's type can hold
            fulfilled = values.isin(select_fitting_values(self.expectation.values, batch.schema.field(names[0]).type))
        else:
            fulfilled = self.check(values).check_output
        broken[is_present] = ~np.asarray(fulfilled, dtype=bool)
        return broken, len(present)


def convert_decimals(column: pa.Array) -> pa.Array:
    """Decimals as floats: they are compared with the floats of a spec."""
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def select_fitting_values(values: Sequence[Any], kind: pa.DataType) -> list[Any]:
    """Those of the values that a column of this type can hold; dates are written as text."""
    if is_spec_type(kind, "text"):
        return [value for value in values if isinstance(value, str)]
    if is_spec_type(kind, "flag"):
        return [value for value in values if isinstance(value, bool)]
    if is_spec_type(kind, "number"):
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        return [int(v) for v in numbers if float(v).is_integer()] if is_spec_type(kind, "integer") else numbers
    return [value for text in values if (value := parse_day(text)) is not None]


def parse_day(text: Any) -> dt.date | None:
    try:
        return dt.date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def match_date_range(column: "pd.Series[Any]", expectation: DateRange) -> "pd.Series[Any]":
    """Whether each date lies within the days; a text that begins with no day of ISO 8601 does not."""
    values = pa.array(column)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if is_spec_type(values.type, "text"):
        days = pc.strptime(pc.utf8_slice_codeunits(values, 0, 10), format="%Y-%m-%d", unit="s", error_is_null=True)
    else:
        days = values
    days = days.cast(pa.date32(), safe=False)
    fulfilled = pc.is_valid(days)
    if expectation.earliest is not None:
        fulfilled = pc.and_(fulfilled, pc.greater_equal(days, pa.scalar(dt.date.fromisoformat(expectation.earliest))))
    if expectation.latest is not None:
        fulfilled = pc.and_(fulfilled, pc.less_equal(days, pa.scalar(dt.date.fromisoformat(expectation.latest))))
    return pd.Series(pc.fill_null(fulfilled, False).to_numpy(zero_copy_only=False), index=column.index)


def compare_columns(table: pd.DataFrame, expectation: Compare) -> "pd.Series[bool]":
    """Whether each row stands in the relation; a NaN never does."""
    fulfilled = OPERATORS[expectation.operator](table[expectation.left], table[expectation.right])
    return pd.Series(fulfilled.fillna(False).astype(bool), index=table.index)
