"""The specs of steps that fill gaps and find outliers. Light to import: the web process reads it."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from deepseek.clean.steps_base_spec import (
    ACTIONS,
    NUMERIC,
    ColumnName,
    OnColumns,
    build_choice_words,
    build_optional_columns,
    build_required_columns,
)
from deepseek.spec_errors import build_spec_error
from deepseek.tables.spec import refuse_repeats


# -- missing values -------------------------------------------------------------------------------------------------
class FillMedian(OnColumns):
    """Fill a gap with the median of the values around it."""

    kind: Literal["fill_median"] = Field(title="Fill: median of a window")
    columns: list[ColumnName] | None = build_optional_columns(NUMERIC)
    window_size: int = Field(
        5,
        ge=1,
        le=100_001,
        title="Window",
        description="Rows in the window around a gap, itself included; an even number acts as the next odd one.",
        json_schema_extra={"unit": "rows"},
    )


class FillForward(OnColumns):
    """Fill a gap with the last value before it."""

    kind: Literal["fill_forward"] = Field(title="Fill: last value before")
    columns: list[ColumnName] | None = build_optional_columns("The columns to fill; empty for all.")
    limit: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        title="At most",
        description="Rows of a gap that are filled; empty for all.",
        json_schema_extra={"unit": "rows"},
    )


class FillBackward(FillForward):
    """Fill a gap with the first value after it."""

    kind: Literal["fill_backward"] = Field(title="Fill: next value after")  # type: ignore[assignment]


class FillLinear(OnColumns):
    """Fill a gap on the straight line between the values at its two ends."""

    kind: Literal["fill_linear"] = Field(title="Fill: straight line")
    columns: list[ColumnName] | None = build_optional_columns(NUMERIC)
    along: ColumnName | None = Field(
        None,
        title="Along",
        description="The column of numbers, dates or times that distances are measured on, ascending; empty: by row.",
    )


class FillConstant(OnColumns):
    """Fill a gap with one value."""

    kind: Literal["fill_constant"] = Field(title="Fill: one value")
    columns: list[ColumnName] = build_required_columns("Columns", "The columns to fill.")
    value: str = Field(max_length=1000, title="Value", description="The value, written as in a CSV file.")


class FillGroup(OnColumns):
    """Fill a gap with the median or the mean of the rows of the same group."""

    kind: Literal["fill_group"] = Field(title="Fill: median or mean of a group")
    columns: list[ColumnName] | None = build_optional_columns(NUMERIC)
    by: list[ColumnName] = build_required_columns("Groups", "Rows with the same values in these columns are one group.")
    statistic: Literal["median", "mean"] = Field(
        "median", title="Statistic", description="Statistic of the group that fills its gaps."
    )

    _by_once = field_validator("by")(refuse_repeats)


class DropMissing(OnColumns):
    """Drop rows in which values are missing."""

    kind: Literal["drop_missing"] = Field(title="Drop rows with gaps")
    columns: list[ColumnName] | None = build_optional_columns("The columns that are looked at; empty for all.")
    when: Literal["any", "all"] = Field(
        "any",
        title="When",
        description="Whether a row is dropped when any or when all of these values are missing.",
        json_schema_extra=build_choice_words(any="one is missing", all="every one is missing"),
    )


# -- outliers -------------------------------------------------------------------------------------------------------
class Outliers(OnColumns):
    """Find values far from the rest of their column."""

    kind: Literal["outliers"] = Field(title="Outliers of a column")
    columns: list[ColumnName] | None = build_optional_columns(NUMERIC)
    method: Literal["iqr", "z_score", "robust_z", "quantile"] = Field(
        "iqr",
        title="Method",
        description="How outliers are found: by the quartiles, by mean and standard deviation, by median and median "
        "absolute deviation, or as what lies beyond two quantiles.",
        json_schema_extra=build_choice_words(
            iqr="fences around the quartiles",
            z_score="distance from the mean",
            robust_z="distance from the median",
            quantile="beyond two quantiles",
        ),
    )
    threshold: float | None = Field(
        None,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        title="Threshold",
        description="A multiple of the interquartile range (1.5 if empty), an absolute z-score (3 if empty), or an "
        "absolute robust z-score (3.5 if empty).",
    )
    low: float = Field(
        0.01, ge=0, lt=0.5, title="Lower quantile", description="Of the method quantile: what is below is an outlier."
    )
    high: float = Field(
        0.99, gt=0.5, le=1, title="Upper quantile", description="Of the method quantile: what is above is an outlier."
    )
    action: Literal["flag", "cap", "blank"] = Field(
        "flag",
        title="Action",
        description="What happens to an outlier: flag adds a true/false column NAME__outlier, cap moves the value to "
        "the nearest allowed one, blank makes it missing, for a later step to fill.",
        json_schema_extra=build_choice_words(**ACTIONS),
    )

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, threshold: float | None, info: ValidationInfo) -> float | None:
        if threshold is not None and info.data.get("method") == "quantile":
            raise build_spec_error("needs_method", "The method quantile takes two quantiles and no threshold.")
        return threshold

    def limit(self) -> float:
        """The threshold in force."""
        standard = {"iqr": 1.5, "z_score": 3.0, "robust_z": 3.5, "quantile": 0.0}
        return self.threshold if self.threshold is not None else standard[self.method]


class Hampel(OnColumns):
    """Find values far from the median of their neighbours (the Hampel filter)."""

    kind: Literal["hampel"] = Field(title="Outliers among neighbours")
    columns: list[ColumnName] | None = build_optional_columns(NUMERIC)
    window_size: int = Field(
        7,
        ge=3,
        le=10_001,
        title="Window",
        description="Rows around a value, itself included; an even number acts as the next odd one.",
        json_schema_extra={"unit": "rows"},
    )
    threshold: float = Field(
        3.0,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        title="Threshold",
        description="Standard deviations, as the window's median absolute deviation times 1.4826 estimates them.",
    )
    action: Literal["flag", "cap", "blank"] = Field(
        "cap",
        title="Action",
        description="What happens to an outlier: flag adds a true/false column NAME__outlier, cap puts the window's "
        "median in its place, blank makes it missing, for a later step to fill.",
        json_schema_extra=build_choice_words(
            flag="add a true/false column", cap="the median of the window", blank="make missing"
        ),
    )
