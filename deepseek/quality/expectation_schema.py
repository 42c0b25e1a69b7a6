"""Expectations of single rows as a pandera schema: compiled, evaluated on a batch, or taken along whole."""

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
    columns_of,
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
def problem_of(expectation: AnyExpectation, schema: pa.Schema) -> str:
    """Why the expectation cannot hold of a table of this schema, whatever its rows are; empty if it may."""
    for name in columns_of(expectation):
        if name not in schema.names:
            return Message("The table has no column {name!r}.", name=name)
    types = [schema.field(name).type for name in columns_of(expectation)]
    wanted = {Range: "number", Matches: "text", Length: "text"}.get(type(expectation))
    if isinstance(expectation, ColumnIs):
        wanted = expectation.dtype
    if wanted and not is_of(types[0], wanted):
        return Message(
            "The column {name!r} is of type {kind}, not {expected}.",
            name=columns_of(expectation)[0],
            kind=types[0],
            expected=wanted,
        )
    if isinstance(expectation, DateRange) and not (is_of(types[0], "date") or is_of(types[0], "text")):
        return Message(
            "The column {name!r} is of type {kind}, not {expected}.",
            name=expectation.column,
            kind=types[0],
            expected="date",
        )
    if isinstance(expectation, Compare) and not comparable(*types):
        return Message("The types {left} and {right} cannot be compared.", left=types[0], right=types[1])
    if isinstance(expectation, Unique | Monotonic) and any(pa.types.is_nested(kind) for kind in types):
        return Message("Lists and structures cannot be compared.")
    return ""


def is_of(kind: pa.DataType, wanted: str) -> bool:
    """Whether an Arrow type is what a spec calls number, integer, float, text, flag or date."""
    types = pa.types
    match wanted:
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


def comparable(left: pa.DataType, right: pa.DataType) -> bool:
    return any(is_of(left, each) and is_of(right, each) for each in ("number", "text", "flag", "date"))


# -- the schema -----------------------------------------------------------------------------------------------------
def pandera_check(expectation: AnyExpectation) -> Any:
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
            return Check(lambda column: within_days(column, expectation), name="date_range")
        case Compare():
            return Check(lambda table: compared(table, expectation), name="compare")
    return None


def pandera_schema(expectations: Sequence[AnyExpectation]) -> Any:
    """A pandera DataFrameSchema of all that pandera can express: what an engineer takes along to a notebook."""
    import pandera.pandas as pandera

    names = list(dict.fromkeys(name for each in expectations for name in columns_of(each)))
    of: dict[str, list[AnyExpectation]] = {
        name: [each for each in expectations if columns_of(each) == [name]] for name in names
    }
    return pandera.DataFrameSchema(
        {
            name: pandera.Column(
                None,
                [check for each in of[name] if (check := pandera_check(each)) is not None],
                nullable=not any(isinstance(each, NotNull) for each in of[name]),
                unique=any(isinstance(each, Unique) for each in of[name]),
            )
            for name in names
        },
        checks=[pandera_check(each) for each in expectations if isinstance(each, Compare)],
        unique=next(
            (each.columns for each in expectations if isinstance(each, Unique) and len(each.columns) > 1), None
        ),
    )


def keys_of(expectation: AnyExpectation) -> list[str]:
    return list(expectation.columns) if isinstance(expectation, Unique) else []


class Rows:
    """One expectation of single rows, on batches."""

    def __init__(self, expectation: AnyExpectation) -> None:
        self.expectation = expectation
        self.row_wise = not isinstance(expectation, NotNull | Unique | RowCount | Monotonic | ColumnIs)
        self.check: Any = pandera_check(expectation) if self.row_wise else None

    def broken(self, batch: pa.RecordBatch) -> tuple[Mask, int]:
        """(which rows of the batch break it, how many rows count: those without a missing value)."""
        names = columns_of(self.expectation)
        there = np.ones(batch.num_rows, dtype=bool)
        for name in names:
            there &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
        table = pa.table([plain(batch.column(name)) for name in dict.fromkeys(names)], list(dict.fromkeys(names)))
        present = table.filter(pa.array(there)).to_pandas(types_mapper=pd.ArrowDtype)
        broken = np.zeros(batch.num_rows, dtype=bool)
        if not len(present):
            return broken, 0
        given = present if isinstance(self.expectation, Compare) else present[names[0]]
        if isinstance(self.expectation, OneOf):  # of the values that the column's type can hold
            kept = given.isin(fitting(self.expectation.values, batch.schema.field(names[0]).type))
        else:
            kept = self.check(given).check_output
        broken[there] = ~np.asarray(kept, dtype=bool)
        return broken, len(present)


def plain(column: pa.Array) -> pa.Array:
    """Decimals as floats: they are compared with the floats of a spec."""
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def fitting(values: Sequence[Any], kind: pa.DataType) -> list[Any]:
    """Those of the values that a column of this type can hold; dates are written as text."""
    if is_of(kind, "text"):
        return [value for value in values if isinstance(value, str)]
    if is_of(kind, "flag"):
        return [value for value in values if isinstance(value, bool)]
    if is_of(kind, "number"):
        found = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        return [int(v) for v in found if float(v).is_integer()] if is_of(kind, "integer") else found
    return [value for text in values if (value := day_of(text)) is not None]


def day_of(text: Any) -> dt.date | None:
    try:
        return dt.date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def within_days(column: "pd.Series[Any]", told: DateRange) -> "pd.Series[Any]":
    """Whether each date lies within the days; a text that begins with no day of ISO 8601 does not."""
    values = pa.array(column)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if is_of(values.type, "text"):
        days = pc.strptime(pc.utf8_slice_codeunits(values, 0, 10), format="%Y-%m-%d", unit="s", error_is_null=True)
    else:
        days = values
    days = days.cast(pa.date32(), safe=False)
    kept = pc.is_valid(days)
    if told.earliest is not None:
        kept = pc.and_(kept, pc.greater_equal(days, pa.scalar(dt.date.fromisoformat(told.earliest))))
    if told.latest is not None:
        kept = pc.and_(kept, pc.less_equal(days, pa.scalar(dt.date.fromisoformat(told.latest))))
    return pd.Series(pc.fill_null(kept, False).to_numpy(zero_copy_only=False), index=column.index)


def compared(table: pd.DataFrame, told: Compare) -> "pd.Series[bool]":
    """Whether each row stands in the relation; a NaN never does."""
    kept = OPERATORS[told.operator](table[told.left], table[told.right])
    return pd.Series(kept.fillna(False).astype(bool), index=table.index)
