"""What must hold of a table. Light to import: the web process reads it, the engine makes a pandera schema of it."""

import re
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from deepseek.spec_errors import build_spec_error
from deepseek.tables.spec import refuse_repeats

Column = Annotated[str, Field(min_length=1, max_length=500)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
MAX_EXPECTATIONS = 200
"""Expectations of one table."""

DTYPES: dict[str, JsonValue] = {
    "number": "an integer, a float or a decimal",
    "integer": "whole numbers",
    "float": "binary floating point",
    "text": "text",
    "flag": "true or false",
    "date": "a date or a moment",
}


class _Expectation(BaseModel):
    """What every expectation has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Literal["error", "warning"] = Field(
        "error",
        title="Severity",
        description="error: the job fails and creates nothing. warning: listed in the report.",
        json_schema_extra={"words": {"error": "the job fails", "warning": "listed in the report"}},
    )
    note: str = Field("", max_length=200, title="Note", description="Reason, shown in the report.")


class _RowsExpectation(_Expectation):
    """One that rows keep or break."""

    max_share: float = Field(
        0.0, ge=0, lt=1, title="Tolerated share", description="The share of rows that may break it; 0 for none."
    )


class _ColumnExpectation(_RowsExpectation):
    column: Column = Field(
        title="Column", description="The column that it is about. A missing value counts as meeting it."
    )


class ColumnIs(_Expectation):
    """The column is there, and of a type."""

    kind: Literal["column"] = Field(title="The column is there")
    column: Column = Field(title="Column", description="The column that must be there.")
    dtype: Literal["number", "integer", "float", "text", "flag", "date"] | None = Field(
        None,
        title="Type",
        description="What its values must be; empty for anything.",
        json_schema_extra={"words": DTYPES},
    )


class NotNull(_ColumnExpectation):
    """No value of the column is missing."""

    kind: Literal["not_null"] = Field(title="No value is missing")
    column: Column = Field(title="Column", description="The column that it is about.")


class Unique(_Expectation):
    """No two rows have the same values in these columns; rows with a missing one among them do not count."""

    kind: Literal["unique"] = Field(title="Unique, alone or together")
    columns: list[Column] = Field(
        min_length=1, max_length=20, title="Columns", description="One column, or those that are a key together."
    )

    _no_repeats = field_validator("columns")(refuse_repeats)


class Range(_ColumnExpectation):
    """Every number lies within these limits, which belong to it."""

    kind: Literal["range"] = Field(title="Numbers within limits")
    minimum: Finite | None = Field(None, title="Minimum", description="The smallest number allowed; empty for any.")
    maximum: Finite | None = Field(None, title="Maximum", description="The largest number allowed; empty for any.")

    @model_validator(mode="after")
    def _check_limits(self) -> "Range":
        _require_limits(self.minimum, self.maximum)
        return self


class OneOf(_ColumnExpectation):
    """Every value is one of these."""

    kind: Literal["one_of"] = Field(title="One of a set of values")
    values: list[str | int | float | bool] = Field(
        min_length=1, max_length=1000, title="Values", description="The values allowed."
    )


class Matches(_ColumnExpectation):
    """Every text has this pattern somewhere in it: ^ and $ bind it to the ends."""

    kind: Literal["matches"] = Field(title="Text of a pattern")
    pattern: str = Field(
        min_length=1, max_length=500, title="Pattern", description="A regular expression of RE2, such as ^[A-Z]{3}$."
    )

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise build_spec_error("pattern", "This is no pattern: {why}.", why=str(error)) from None
        return pattern


class Length(_ColumnExpectation):
    """Every text has so many characters."""

    kind: Literal["length"] = Field(title="Text of a length")
    minimum: int | None = Field(None, ge=0, title="Shortest", description="The fewest characters allowed.")
    maximum: int | None = Field(None, ge=0, title="Longest", description="The most characters allowed.")

    @model_validator(mode="after")
    def _check_limits(self) -> "Length":
        _require_limits(self.minimum, self.maximum)
        return self


class RowCount(_Expectation):
    """The table has so many rows."""

    kind: Literal["row_count"] = Field(title="Number of rows")
    minimum: int | None = Field(None, ge=0, title="Fewest", description="The fewest rows allowed.")
    maximum: int | None = Field(None, ge=0, title="Most", description="The most rows allowed.")

    @model_validator(mode="after")
    def _check_limits(self) -> "RowCount":
        _require_limits(self.minimum, self.maximum)
        return self


class Monotonic(_ColumnExpectation):
    """Every value is at or behind the one before it, in the order of the rows; missing ones are passed over."""

    kind: Literal["monotonic"] = Field(title="In order")
    direction: Literal["increasing", "decreasing"] = Field("increasing", title="Direction", description="Which way.")
    strict: bool = Field(False, title="Strict", description="Whether a value may not be repeated.")


class Compare(_RowsExpectation):
    """The two columns of a row stand in this relation; rows with a missing one of them do not count."""

    kind: Literal["compare"] = Field(title="Two columns compared")
    left: Column = Field(title="Left", description="The column on the left.")
    operator: Literal["<", "<=", "==", "!=", ">=", ">"] = Field(title="Operator", description="How they compare.")
    right: Column = Field(title="Right", description="The column on the right.")


class DateRange(_ColumnExpectation):
    """Every date lies within these days, which belong to it: of a column of dates, or of text as ISO 8601 has it."""

    kind: Literal["date_range"] = Field(title="Dates within limits")
    earliest: str | None = Field(None, title="Earliest", description="The first day allowed, such as 2020-01-31.")
    latest: str | None = Field(None, title="Latest", description="The last day allowed.")

    @field_validator("earliest", "latest")
    @classmethod
    def _check_day(cls, day: str | None) -> str | None:
        if day is not None and (not re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII) or not _is_calendar_day(day)):
            raise build_spec_error("day", "A day is written as 2020-01-31.")
        return day

    @model_validator(mode="after")
    def _check_limits(self) -> "DateRange":
        _require_limits(self.earliest, self.latest)
        return self


AnyExpectation: TypeAlias = (
    ColumnIs | NotNull | Unique | Range | OneOf | Matches | Length | RowCount | Monotonic | Compare | DateRange
)
Expectation: TypeAlias = Annotated[AnyExpectation, Field(discriminator="kind")]


class Expectations(BaseModel):
    """A list of them, to be read from outside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expectations: list[Expectation] = Field(
        default=[],
        max_length=MAX_EXPECTATIONS,
        title="Expectations",
        description="What must hold of the table: where an error does not, nothing is made.",
    )


def get_expectation_columns(expectation: AnyExpectation) -> list[str]:
    """List the columns that the expectation reads."""
    if isinstance(expectation, Unique):
        return list(expectation.columns)
    if isinstance(expectation, Compare):
        return [expectation.left, expectation.right]
    return [] if isinstance(expectation, RowCount) else [expectation.column]


def describe_expectation(expectation: Any) -> str:
    """Describe an expectation in a short notation that is the same in every language: close: 0 ... 100."""
    match expectation.kind:
        case "row_count":
            return f"row_count: {_format_range(expectation.minimum, expectation.maximum)}"
        case "range" | "length":
            return f"{expectation.kind} {expectation.column}: {_format_range(expectation.minimum, expectation.maximum)}"
        case "date_range":
            return f"date_range {expectation.column}: {_format_range(expectation.earliest, expectation.latest)}"
        case "unique":
            return f"unique {', '.join(expectation.columns)}"
        case "compare":
            return f"compare {expectation.left} {expectation.operator} {expectation.right}"
        case "one_of":
            values = ", ".join(str(value) for value in expectation.values[:5])
            return f"one_of {expectation.column}: {values}{', ...' if len(expectation.values) > 5 else ''}"
        case "matches":
            return f"matches {expectation.column}: {expectation.pattern}"
        case "monotonic":
            return f"monotonic {expectation.column}: {'strictly ' if expectation.strict else ''}{expectation.direction}"
        case "column":
            return f"column {expectation.column}" + (f": {expectation.dtype}" if expectation.dtype else "")
    return f"{expectation.kind} {expectation.column}"


def _format_range(low: object, high: object) -> str:
    low, high = (f"{end:.15g}" if isinstance(end, float) else end for end in (low, high))
    if low is None:
        return f"<= {high}"
    return f">= {low}" if high is None else f"{low} ... {high}"


def _is_calendar_day(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _require_limits(low: Any, high: Any) -> None:
    if low is None and high is None:
        raise build_spec_error("no_limit", "Give at least one of the two limits.")
    if low is not None and high is not None and low > high:
        raise build_spec_error(
            "limits_crossed", "The lower limit {low} is above the upper one, {high}.", low=str(low), high=str(high)
        )
