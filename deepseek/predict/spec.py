"""The spec of batch prediction. Light to import: the web process reads it."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepseek.partitions.spec import CLUSTER, CLUSTER_EXTRA, PARTITIONS, PROCESSES, refuse_processes
from deepseek.tables.spec import CsvSpec, refuse_repeats

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]


class PredictSpec(BaseModel):
    """Predict for every row of a table with a trained model, in any of its forms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "",
        max_length=500,
        title="Model version",
        description=(
            "The version of a model of this project, as NAME:vN or NAME:ALIAS; a form of it as NAME:vN/FORM. Empty "
            "where the job gets the model file and its manifest as inputs."
        ),
    )
    keep: list[ColumnName] | None = Field(
        None,
        max_length=10_000,
        title="Columns to keep",
        description="Columns of the table that stand beside the predictions; empty for all.",
    )
    name: str = Field(
        "prediction",
        min_length=1,
        max_length=500,
        title="Prediction column",
        description="The name of the column of predictions.",
    )
    probabilities: bool = Field(
        False,
        title="Class shares",
        description="Whether each class has a column p_CLASS: the share that the model gives it.",
    )
    incomplete: Literal["missing", "refuse"] = Field(
        "missing",
        title="Incomplete rows",
        description="What becomes of a row that lacks an input of the model.",
        json_schema_extra={"words": {"missing": "has no prediction", "refuse": "the job fails"}},
    )
    processes: int = PROCESSES
    partitions: int | None = PARTITIONS
    cluster: bool = CLUSTER
    csv: CsvSpec = Field(
        default=CsvSpec(), title="CSV", description="How to read the table if it is text rather than Parquet."
    )

    _no_repeats = field_validator("keep")(refuse_repeats)
    _cluster_alone = field_validator("cluster")(refuse_processes)

    extra_field: ClassVar[str] = "/cluster"  # that asks for `extra`

    @property
    def extra(self) -> str:
        """What of a node beyond the core it needs (apps/platform/nodes/extras.py)."""
        return CLUSTER_EXTRA if self.cluster else ""
