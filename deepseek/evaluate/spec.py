"""The specs of measuring one model, or predictions of one, on one table. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepseek.images.spec import VERSION_PATTERN

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Place = Annotated[int, Field(ge=1, le=1000)]

SHARE = "p_"  # before the name of a class, of the column of its probability
MOST_SLICES = 12  # columns
FARTHEST = 4096  # rows that a forecast looks ahead
TIMED = ("batches", "runs", "threads", "horizon", "images")
"""Fields that leave the figures as they are, or that follow from the model or name its input: two models may differ in
them."""


class Slice(BaseModel):
    """Rows that share a value of a column, or that lie in one quantile bin of it, measured on their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: ColumnName = Field(title="Column", description=("Column whose values or bins define the slices."))
    bins: int | None = Field(
        None,
        ge=2,
        le=20,
        title="Bins",
        description="Quantile bins of a column of numbers; empty: a slice for each value, of many numbers four bins.",
    )


class Measures(BaseModel):
    """What decides the figures, wherever the outputs come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: ColumnName | None = Field(
        None,
        title="Query column",
        description=(
            "For a ranking: rows with the same value are one query, the target is their relevance, and the model's "
            "output orders them. Empty: no ranking."
        ),
    )
    places: list[Place] = Field(
        [5, 10],
        min_length=1,
        max_length=5,
        title="Ranks",
        description="NDCG is measured at each of these ranks.",
        json_schema_extra={"unit": "rows"},
    )
    positive: str | None = Field(
        None,
        max_length=500,
        title="Positive class",
        description="Of two classes, the one that precision and recall are of; empty: the last in their order.",
    )
    slices: list[Slice] = Field(
        [],
        max_length=MOST_SLICES,
        title="Slices",
        description="Columns that define slices, evaluated separately in addition to all rows.",
    )
    first_row: int = Field(
        0,
        ge=0,
        lt=2**53,
        title="First row",
        description=(
            "Rows before this one, counted from 0, are not measured; a forecast looks back on them. Forecasts with "
            "different lags are compared on the same rows if it is no less than the most of them look back."
        ),
        json_schema_extra={"unit": "rows"},
    )
    calibration_bins: int = Field(
        15, ge=2, le=100, title="Calibration bins", description="Bins of equal width of the calibration error."
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1, title="Confidence", description=("Confidence level of the interval of each metric.")
    )
    replicates: int = Field(
        2000,
        ge=200,
        le=10_000,
        title="Replicates",
        description="Bootstrap resamples.",
        json_schema_extra={"unit": "draws"},
    )
    seed: int = Field(
        0, ge=0, lt=2**32, title="Seed", description="Of the bootstrap. Models are compared by the same draws."
    )

    def same_figures(self) -> dict[str, object]:
        """What decides the figures: of two evaluations on one set it must be equal."""
        return self.model_dump(mode="json", exclude={*TIMED, "task", "target"})


class EvaluateSpec(Measures):
    """Measure a model on a table: metrics with intervals, slices, calibration, latency, throughput, size, memory."""

    images: str = Field(
        "",
        max_length=80,
        pattern=VERSION_PATTERN,
        title="Images",
        description=(
            "Of a model of images, in the place of a table: version of a dataset whose files are images, as NAME:vN. "
            "On the command line a folder is given instead."
        ),
    )

    horizon: int | None = Field(
        None,
        ge=1,
        le=FARTHEST,
        title="Horizon",
        description="Forecast horizon in rows; empty: from the model's manifest.",
        json_schema_extra={"unit": "rows"},
    )
    batches: list[BatchSize] = Field(
        [1, 32],
        min_length=1,
        max_length=8,
        title="Batch sizes",
        description="Latency and throughput are measured at each of these batch sizes.",
        json_schema_extra={"unit": "rows"},
    )
    runs: int = Field(
        200,
        ge=20,
        le=100_000,
        title="Runs",
        description="Calls of the model that a latency is measured over.",
        json_schema_extra={"unit": "calls"},
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        title="Threads",
        description="Processor threads while measuring.",
        json_schema_extra={"unit": "threads"},
    )


class PredictionsSpec(Measures):
    """Measure predictions that were made elsewhere, one for each row of a table; the model itself is not run."""

    task: Literal["classification", "regression", "forecast"] = Field(
        title="Task", description="What was predicted: a class, a number, or a later value of a series."
    )
    target: ColumnName = Field(title="Target", description="The column of the table that was predicted.")
    horizon: int | None = Field(
        None,
        ge=1,
        le=FARTHEST,
        title="Horizon",
        description="Forecast horizon in rows; required for forecasts, and only for them.",
        json_schema_extra={"unit": "rows"},
    )


Task = Literal["classification", "regression", "forecast", "ranking", "entities", "language"]
METRICS: dict[str, dict[str, Literal["higher", "lower"]]] = {
    "classification": {
        "accuracy": "higher",
        "f1_macro": "higher",
        "precision_macro": "higher",
        "recall_macro": "higher",
        "precision": "higher",
        "recall": "higher",
        "f1": "higher",
        "auc": "higher",
        "log_loss": "lower",
        "brier": "lower",
        "ece": "lower",
    },
    "regression": {"rmse": "lower", "mae": "lower", "r2": "higher", "mape": "lower"},
    "forecast": {"rmse": "lower", "mae": "lower", "r2": "higher", "mape": "lower"},
    "ranking": {"map": "higher", "mrr": "higher"},
    "entities": {"f1": "higher", "precision": "higher", "recall": "higher"},
    "language": {"perplexity": "lower", "token_accuracy": "higher"},
}
"""Metrics by task and which way is better; a ranking has ndcg_at_<k> too, for each rank asked for."""


def get_task_metrics(task: str, spec: Measures) -> dict[str, Literal["higher", "lower"]]:
    """The metrics that an evaluation of this task may have; which of them it has, the rows decide."""
    metrics: dict[str, Literal["higher", "lower"]] = {}
    if task == "ranking":
        metrics = {f"ndcg_at_{place}": "higher" for place in dict.fromkeys(spec.places)}
    return metrics | METRICS[task]
