"""The spec of one training run. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from deepseek.spec_errors import build_spec_error
from deepseek.tables.spec import refuse_repeats

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]
Width = Annotated[int, Field(ge=1, le=16_384)]


class ScheduleSpec(BaseModel):
    """The learning rate and the batch size, by step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    init_lr: float = Field(
        1e-4,
        gt=0,
        le=10,
        allow_inf_nan=False,
        title="First learning rate",
        description="Learning rate of the first step; it grows in a straight line to the highest.",
    )
    max_lr: float = Field(
        1e-3,
        gt=0,
        le=10,
        allow_inf_nan=False,
        title="Highest learning rate",
        description="Learning rate after the warm-up; from then on it is max_lr * 0.1 ** (step // 10000).",
    )
    warmup_steps: int = Field(
        100,
        ge=0,
        le=1_000_000,
        title="Warm-up",
        description="Number of steps in which the learning rate grows.",
        json_schema_extra={"unit": "steps"},
    )
    first_batch: int = Field(
        32,
        ge=1,
        le=65_536,
        title="First batch size",
        description="Rows of a step at the beginning: small batches converge fast.",
        json_schema_extra={"unit": "rows"},
    )
    last_batch: int = Field(
        256,
        ge=1,
        le=65_536,
        title="Last batch size",
        description="Rows of a step at the end; the size doubles at equal distances until it is reached.",
        json_schema_extra={"unit": "rows"},
    )

    @field_validator("max_lr")
    @classmethod
    def _not_below_init(cls, max_lr: float, info: ValidationInfo) -> float:
        init_lr = info.data.get("init_lr")
        if init_lr is not None and max_lr < init_lr:
            raise build_spec_error(
                "below_init_lr",
                "The highest learning rate {max_lr} is below the first one, {init_lr}.",
                max_lr=max_lr,
                init_lr=init_lr,
            )
        return max_lr

    @field_validator("last_batch")
    @classmethod
    def _not_below_first(cls, last: int, info: ValidationInfo) -> int:
        first = info.data.get("first_batch")
        if first is not None and last < first:
            raise build_spec_error(
                "below_first_batch",
                "The last batch size {last} is below the first one, {first}.",
                last=last,
                first=first,
            )
        return last


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
            "The columns to predict from; all numeric columns but the target if empty. A forecast predicts from the "
            "target's own past and takes none."
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
    validation_share: float = Field(
        0.15,
        gt=0,
        lt=0.5,
        title="Validation share",
        description="Share of the rows that decides when to stop.",
    )
    test_share: float = Field(
        0.15,
        gt=0,
        lt=0.5,
        title="Test share",
        description="Share of the rows held out for the final evaluation only.",
    )
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
    dropout: float = Field(
        0.0, ge=0, lt=1, title="Dropout", description="Share of hidden units left out at each training step."
    )
    weight_decay: float = Field(
        1e-4, ge=0, le=1, allow_inf_nan=False, title="Weight decay", description="Decay of the weights, as in AdamW."
    )
    epochs: int = Field(
        50,
        ge=1,
        le=100_000,
        title="Epochs",
        description="Maximum number of passes over the training rows.",
        json_schema_extra={"unit": "epochs"},
    )
    patience: int = Field(
        10,
        ge=0,
        le=100_000,
        title="Patience",
        description="Stop after so many epochs without a lower validation loss; 0 never stops early.",
        json_schema_extra={"unit": "epochs"},
    )
    schedule: ScheduleSpec = Field(
        default_factory=ScheduleSpec, title="Schedule", description="The learning rate and the batch size, by step."
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        title="Seed",
        description="Of everything that is random: split, first weights, order of rows, dropout.",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto",
        title="Precision",
        description=(
            "Numbers in the forward and backward pass. auto: fp16 with loss scaling on a GPU, fp32 on a processor."
        ),
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", title="Device", description="Where to train. auto: on the first GPU the job has, else on the processor."
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        title="Threads",
        description="Processor threads. Part of the spec because sums in another order differ in their last bits.",
        json_schema_extra={"unit": "threads"},
    )
    strategy: Literal["none", "ddp"] = Field(
        "none",
        title="Strategy",
        description=(
            "How several processes share the work. ddp: each takes a part of every batch, and their gradients are "
            "averaged; batch sizes and learning rates mean the same as in one process."
        ),
        json_schema_extra={"words": {"none": "one process", "ddp": "data parallel (DDP)"}},
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        title="Processes",
        description="Processes on each node that share the work, each with the threads above; for the strategy ddp.",
        json_schema_extra={"unit": "processes"},
    )
    checkpoint_every: int = Field(
        500,
        ge=1,
        le=1_000_000,
        title="Checkpoint every",
        description="Steps between two checkpoints; a killed run resumes from the last one.",
        json_schema_extra={"unit": "steps"},
    )

    @field_validator("processes")
    @classmethod
    def _processes_have_strategy(cls, processes: int, info: ValidationInfo) -> int:
        if info.data.get("strategy") == "none" and processes > 1:
            raise build_spec_error(
                "strategy_missing", "{processes} processes need the strategy ddp.", processes=processes
            )
        return processes

    @field_validator("features")
    @classmethod
    def _features_fit(cls, features: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if features is None:
            return None
        refuse_repeats(features)
        if info.data.get("target") in features:
            raise build_spec_error(
                "target_is_feature", "The target {value} is also a feature.", value=repr(info.data["target"])
            )
        if info.data.get("task") == "forecast" and features:
            raise build_spec_error("forecast_features", "A forecast takes no feature columns: leave them empty.")
        if not features:
            raise build_spec_error("no_features", "Name at least one feature, or leave the field empty for all.")
        return features

    @field_validator("test_share")
    @classmethod
    def _shares_leave_training(cls, test: float, info: ValidationInfo) -> float:
        validation = info.data.get("validation_share")
        if validation is not None and validation + test > 0.8:
            raise build_spec_error(
                "shares_too_large",
                "Validation and test take {taken} of the rows; at least 0.2 must be left to train on.",
                taken=round(validation + test, 4),
            )
        return test
