"""What a part of observations has in its columns, and the spec of making one table of many parts. Light to import."""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

ID_LIMIT = 100
VARIANT_LIMIT = 60
CLASS_LIMIT = 100
PREDICTION_COLUMNS = (
    "id",
    "at",
    "model",
    "version",
    "variant",
    "shadow",
    "answer",
    "features",
    "features_digest",
    "latency_ms",
)
"""Of a part of predictions, in this order; `answer` and `features` are JSON, `at` microseconds since 1970."""
LABEL_COLUMNS = ("id", "at", "label")
"""Of a part of labels."""

FIRST_YEAR, LAST_YEAR = 1970, 9998
"""Of any time: what is added to it or taken from it is a time still, in every time zone."""


def check_year(at: datetime) -> None:
    """Raise a spec error for a time that no plane has seen."""
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise build_spec_error(
            "bad_time",
            N_("The year is {year}, and it may be {first} to {last}."),
            year=at.year,
            first=FIRST_YEAR,
            last=LAST_YEAR,
        )


class ObservationsSpec(BaseModel):
    """Make one table of the predictions of a period, with their labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        min_length=1, max_length=50, title="Source", description="The endpoint or device that answered."
    )
    since: AwareDatetime = Field(title="From", description="Predictions at or after this time.")
    until: AwareDatetime = Field(title="Until", description="Predictions before this time.")
    model: str = Field("", max_length=256, title="Model", description="Only predictions of this model. Empty: of any.")
    version: int | None = Field(
        None, ge=1, le=2**31 - 1, title="Version", description="Only predictions of this version. Empty: of any."
    )
    variant: str = Field(
        "", max_length=VARIANT_LIMIT, title="Variant", description="Only predictions of this variant. Empty: of any."
    )
    shadow: bool = Field(
        False, title="Shadow", description="Those of a candidate that ran in shadow, instead of those returned."
    )
    labelled_only: bool = Field(False, title="Labelled only", description="Leave out what has no label yet.")
    features: Literal["columns", "json"] = Field(
        "columns",
        title="Features",
        description="How the features become columns.",
        json_schema_extra={"words": {"columns": "a column for each", "json": "one column of JSON"}},
    )

    @model_validator(mode="after")
    def _check(self) -> "ObservationsSpec":
        check_year(self.since)
        check_year(self.until)
        if self.since >= self.until:
            raise build_spec_error(
                "bad_period",
                N_("The period ends at {until}, not after its start, {since}."),
                until=self.until.isoformat(),
                since=self.since.isoformat(),
            )
        return self
