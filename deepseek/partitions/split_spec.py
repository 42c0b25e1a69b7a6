"""The spec of splitting a table into parts. Light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepseek.tables.spec import CsvSpec

MAX_ROWS_PER_PART = 1_000_000_000
MAX_KEY_PARTS = 1_000


class SplitSpec(BaseModel):
    """Split a table into Parquet parts: by a number of rows, by intervals of a time column, or by a key column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int | None = Field(
        None,
        ge=1,
        le=MAX_ROWS_PER_PART,
        title="Rows",
        description="Rows of each part but the last, in the order of the table.",
    )
    time: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        title="Time column",
        description="A column of dates or times: one part for each interval that has a row, in the order of time.",
    )
    every: int = Field(
        1, ge=1, le=1_000_000, title="Every", description="With a time column: the length of an interval, in its unit."
    )
    unit: Literal["second", "minute", "hour", "day", "week"] = Field(
        "day",
        title="Unit",
        description="The unit of the interval; intervals are counted from 1970-01-01, a Thursday.",
    )
    key: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        title="Key column",
        description="Rows of equal keys share a part; which one follows from a hash of the key.",
    )
    parts: int = Field(
        16, ge=1, le=MAX_KEY_PARTS, title="Parts", description="With a key column: how many parts are made at most."
    )
    csv: CsvSpec = Field(
        default=CsvSpec(), title="CSV", description="How to read the table if it is text rather than Parquet."
    )

    @model_validator(mode="after")
    def require_one_way(self) -> SplitSpec:
        given = [name for name in ("rows", "time", "key") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of rows, time and key, not {' and '.join(given) or 'none'}")
        return self
