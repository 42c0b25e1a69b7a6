"""The spec of comparing two tables row by row. Light to import: the web process reads it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepseek.tables.spec import CsvSpec, refuse_repeats

KeyName = Annotated[str, Field(min_length=1, max_length=500)]


class DiffSpec(BaseModel):
    """Compare two tables row by row: which rows were added, removed or changed, and in which columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: list[KeyName] = Field(
        min_length=1,
        max_length=20,
        title="Key columns",
        description="The columns that name a row: together they hold each value once in either table.",
    )
    sample_rows: int = Field(
        100,
        ge=0,
        le=1000,
        title="Rows shown",
        description=("Number of differing rows shown in the summary; the table of changes has all of them."),
        json_schema_extra={"unit": "rows"},
    )
    csv_before: CsvSpec = Field(
        default=CsvSpec(), title="CSV, before", description="How to read the first table if it is text."
    )
    csv_after: CsvSpec = Field(
        default=CsvSpec(), title="CSV, after", description="How to read the second table if it is text."
    )

    _check_unique_keys = field_validator("keys")(refuse_repeats)
