"""The spec of measuring one table. Light to import: the web process reads it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from deepseek.partitions.spec import PROCESSES
from deepseek.quality.expectations_spec import MAX_EXPECTATIONS, Expectation
from deepseek.tables.spec import CsvSpec


class ProfileSpec(BaseModel):
    """Measure one table: types, gaps, distributions, correlations, repeated rows, and what is expected of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csv: CsvSpec = Field(
        default=CsvSpec(), title="CSV", description="How to read the table if it is text rather than Parquet."
    )
    expectations: list[Expectation] = Field(
        default=[],
        max_length=MAX_EXPECTATIONS,
        title="Expectations",
        description="What must hold of the table.",
    )
    on_failure: Literal["fail", "report"] = Field(
        "fail",
        title="Where an expectation fails",
        description="Whether the job fails, so that no version is made, or only reports it, of a version there is.",
        json_schema_extra={"words": {"fail": "the job fails", "report": "listed in the report"}},
    )
    processes: int = PROCESSES
