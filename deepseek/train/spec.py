"""The spec of one training run. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from deepseek.spec_errors import build_spec_error
from deepseek.tables.spec import refuse_repeats
from deepseek.train.loop_spec import (
    CheckpointEvery,
    Device,
    Dropout,
    Epochs,
    MicroBatch,
    Patience,
    Precision,
    Processes,
    ScheduleSpec,
    Seed,
    ServerMode,
    Servers,
    Staleness,
    Strategy,
    TestShare,
    Threads,
    ValidationShare,
    WeightDecay,
)

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]
Width = Annotated[int, Field(ge=1, le=16_384)]
MOST_CLASSES = 1000


class ClassWeight(BaseModel):
    """How much the rows of one class count in the loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=500, title="Class", description="The class, as the target column writes it.")
    weight: float = Field(
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        title="Weight",
        description="What a row of the class counts; 1 is as usual.",
    )


class TrainSpec(BaseModel):
    """Train a multi-layer perceptron on a table: to classify, to regress, or to forecast the next value of a series."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["classification", "regression", "forecast"] = Field(
        title="Task",
        description=(
            "What the model learns: the class of a row, a number of a row, or the next value of a series from "
            "its last values."
        ),
        json_schema_extra={
            "words": {
                "classification": "the class of a row",
                "regression": "a number of a row",
                "forecast": "the next value of a series",
            }
        },
    )
    target: ColumnName = Field(title="Target column", description="The column to predict.")
    features: list[ColumnName] | None = Field(
        None,
        title="Feature columns",
        description=(
            "The columns to predict from; all numeric columns but the target if empty. Text columns named here are "
            "category columns. A forecast predicts from the target's own past and takes none."
        ),
    )
    categories: list[ColumnName] | None = Field(
        None,
        title="Category columns",
        description=(
            "Columns of text, true and false, or whole numbers that stand for categories, beside the feature columns. "
            "Each category gets a vector that is learned; a missing one, and one that no training row has, share one."
        ),
    )
    lags: int = Field(
        20,
        ge=1,
        le=4096,
        title="Lags",
        description="A forecast sees this many past values.",
        json_schema_extra={"unit": "rows"},
    )
    horizon: int = Field(
        1,
        ge=1,
        le=4096,
        title="Horizon",
        description="A forecast predicts the value this many rows ahead.",
        json_schema_extra={"unit": "rows"},
    )
    split: Literal["auto", "random", "ordered"] = Field(
        "auto",
        title="Split",
        description=(
            "How rows go to training, validation and test: by chance (classes in equal shares), or in the order of the "
            "table, the last rows being the test. auto: ordered for a forecast, else by chance."
        ),
        json_schema_extra={
            "words": {"auto": "as the task asks", "random": "by chance", "ordered": "in the order of the table"}
        },
    )
    validation_share: ValidationShare = 0.15
    test_share: TestShare = 0.15
    hidden: list[Width] = Field(
        [64, 64],
        max_length=32,
        title="Hidden layers",
        description="Width of each hidden layer; none makes a linear model.",
        json_schema_extra={"unit": "units"},
    )
    activation: Literal["relu", "tanh", "gelu"] = Field(
        "tanh",
        title="Activation",
        description="The function between two layers. On small tables tanh does better; relu costs less to compute.",
    )
    dropout: Dropout = 0.0
    weight_decay: WeightDecay = 1e-4
    epochs: Epochs = 50
    patience: Patience = 10
    schedule: ScheduleSpec = Field(
        default_factory=ScheduleSpec, title="Schedule", description="The learning rate and the batch size, by step."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        title="Class weights",
        description="How much the rows of each class count in the loss of a classification.",
        json_schema_extra={
            "words": {"none": "all rows alike", "balanced": "every class as much as any other, however few its rows"}
        },
    )
    weights: list[ClassWeight] = Field(
        [],
        max_length=MOST_CLASSES,
        title="Weights of single classes",
        description="These classes get the given weight instead.",
    )
    reference: bool = Field(
        True,
        title="Reference model",
        description=(
            "Also fits scikit-learn's HistGradientBoosting with default settings to the same training rows, and "
            "measures it on the same held-out rows."
        ),
    )
    seed: Seed = 0
    precision: Precision = "auto"
    device: Device = "auto"
    threads: Threads = 1
    strategy: Strategy = "none"
    processes: Processes = 1
    server_mode: ServerMode = "sync"
    servers: Servers = 1
    staleness: Staleness = 4
    micro_batch: MicroBatch = 0
    checkpoint_every: CheckpointEvery = 500

    @field_validator("features")
    @classmethod
    def _features_fit(cls, features: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if features is None:
            return None
        _refuse_columns(features, info)
        if not features:
            raise build_spec_error("no_features", "Name at least one feature, or leave the field empty for all.")
        return features

    @field_validator("categories")
    @classmethod
    def _categories_fit(cls, categories: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if categories is not None:
            _refuse_columns(categories, info)
        return categories

    @field_validator("class_weights")
    @classmethod
    def _class_weights_fit(cls, class_weights: str, info: ValidationInfo) -> str:
        if class_weights != "none":
            _require_classes(info)
        return class_weights

    @field_validator("weights")
    @classmethod
    def _weights_fit(cls, weights: list[ClassWeight], info: ValidationInfo) -> list[ClassWeight]:
        refuse_repeats([weight.name for weight in weights])
        if weights:
            _require_classes(info)
        return weights


def _refuse_columns(names: list[str], info: ValidationInfo) -> None:
    """Raise a spec error where they cannot be columns to predict from."""
    refuse_repeats(names)
    if info.data.get("target") in names:
        raise build_spec_error(
            "target_is_feature", "The target {value} is also a feature.", value=repr(info.data["target"])
        )
    if info.data.get("task") == "forecast" and names:
        raise build_spec_error("forecast_features", "A forecast takes no feature columns: leave them empty.")


def _require_classes(info: ValidationInfo) -> None:
    task = info.data.get("task")
    if task is not None and task != "classification":
        raise build_spec_error("weights_without_classes", "A {task} has no classes to weight.", task=task)
