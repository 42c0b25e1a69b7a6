"""The spec of making training data of observations. Light to import: the web process reads it."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from deepseek.tables.spec import CsvSpec
from deepseek.train.spec import ColumnName

BASE = "base"  # the slot of the table that the model was trained on before
MAX_FRESH_ROWS = 1_000_000


class RetrainingDataSpec(BaseModel):
    """Join predictions with their labels, and make them rows of the table that the model was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1, max_length=256, title="Model", description="Only predictions of this model.")
    since: AwareDatetime = Field(title="From", description="Predictions at or after this time.")
    until: AwareDatetime = Field(title="Until", description="Predictions before this time.")
    task: Literal["classification", "regression", "forecast"] = Field(title="Task", description="Of the model.")
    target: ColumnName = Field(title="Target column", description="The column that the labels become.")
    features: list[ColumnName] = Field(
        [],
        title="Feature columns",
        description="What the model predicts from, in the order of a list of features; none of a forecast.",
    )
    mode: Literal["append", "replace"] = Field(
        "append",
        title="Former rows",
        description="Whether the former rows stay before the new ones.",
        json_schema_extra={"words": {"append": "stay before the new ones", "replace": "are left out"}},
    )
    fresh_share: float = Field(
        0.25,
        ge=0.05,
        le=0.5,
        title="Held back",
        description="The newest part of the labelled rows, which is evaluated on and not trained on.",
        json_schema_extra={"unit": "share"},
    )
    context: int = Field(
        0,
        ge=0,
        le=8192,
        title="Rows before",
        description="Rows that stand before those held back too, for a forecast to look back on.",
        json_schema_extra={"unit": "rows"},
    )
    min_rows: int = Field(
        100,
        ge=10,
        le=MAX_FRESH_ROWS,
        title="Labelled rows at least",
        description="With fewer nothing is made.",
        json_schema_extra={"unit": "rows"},
    )
    csv: CsvSpec = Field(CsvSpec(), title="CSV", description="How the former table is read if it is text.")
