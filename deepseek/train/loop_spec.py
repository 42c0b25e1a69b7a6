"""What every training is told, whatever it learns: epochs, schedule, precision, device, processes, checkpoints.

Each family's spec has these fields, in the order of its own form. Light to import: the web process reads it.
"""

from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from deepseek.spec_errors import build_spec_error


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
        validate_default=True,
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
        validate_default=True,
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


DEFAULT_MODE, DEFAULT_SERVERS, DEFAULT_STALENESS = "sync", 1, 4


def require_strategy(processes: int, info: ValidationInfo) -> int:
    """Several processes need a strategy. Raises a spec error ``strategy_missing``."""
    if info.data.get("strategy") == "none" and processes > 1:
        raise build_spec_error(
            "strategy_missing", "{processes} processes need the strategy ddp or ps.", processes=processes
        )
    return processes


def require_processor(strategy: str, info: ValidationInfo) -> str:
    """Parameter servers train on processors, without scaled losses. Raises a spec error ``servers_on_processor``."""
    fields = {"device": "cuda", "precision": "fp16"}
    refused = [value for name, value in fields.items() if info.data.get(name) == value]
    if strategy == "ps" and refused:
        raise build_spec_error(
            "servers_on_processor",
            "Parameter servers train on processors, in fp32 or bf16; the spec asks for {asked}.",
            asked=", ".join(refused),
        )
    return strategy


def require_servers(value: str | int, info: ValidationInfo) -> str | int:
    """A field of the strategy ps has another value than its default only there. Raises ``servers_unused``."""
    if info.data.get("strategy", "ps") != "ps" and value not in (DEFAULT_MODE, DEFAULT_SERVERS):
        raise build_spec_error("servers_unused", "{value} is for the strategy ps.", value=value)
    return value


def require_bounded(staleness: int, info: ValidationInfo) -> int:
    """Only the mode bounded has a bound. Raises a spec error ``staleness_unused``."""
    if info.data.get("server_mode", "bounded") != "bounded" and staleness != DEFAULT_STALENESS:
        raise build_spec_error(
            "staleness_unused", "A staleness of {staleness} is for the mode bounded.", staleness=staleness
        )
    return staleness


def require_training_share(test: float, info: ValidationInfo) -> float:
    """Validation and test leave enough rows. Raises a spec error ``shares_too_large``."""
    validation = info.data.get("validation_share")
    if validation is not None and validation + test > 0.8:
        raise build_spec_error(
            "shares_too_large",
            "Validation and test take {taken} of the rows; at least 0.2 must be left to train on.",
            taken=round(validation + test, 4),
        )
    return test


ValidationShare = Annotated[
    float,
    Field(
        gt=0,
        lt=0.5,
        title="Validation share",
        description="Share of the rows that decides when to stop.",
    ),
]
TestShare = Annotated[
    float,
    Field(
        gt=0,
        lt=0.5,
        title="Test share",
        description="Share of the rows held out for the final evaluation only.",
    ),
    AfterValidator(require_training_share),
]
Dropout = Annotated[
    float,
    Field(ge=0, lt=1, title="Dropout", description="Share of hidden units left out at each training step."),
]
WeightDecay = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False, title="Weight decay", description="Decay of the weights, as in AdamW."),
]
Epochs = Annotated[
    int,
    Field(
        ge=1,
        le=100_000,
        title="Epochs",
        description="Maximum number of passes over the training rows.",
        json_schema_extra={"unit": "epochs"},
    ),
]
Patience = Annotated[
    int,
    Field(
        ge=0,
        le=100_000,
        title="Patience",
        description="Stop after so many epochs without a lower validation loss; 0 never stops early.",
        json_schema_extra={"unit": "epochs"},
    ),
]
Seed = Annotated[
    int,
    Field(
        ge=0,
        lt=2**32,
        title="Seed",
        description="Of everything that is random: split, first weights, order of rows, dropout.",
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "bf16"],
    Field(
        title="Precision",
        description=(
            "Numbers in the forward and backward pass. auto: fp32 on a processor, mixed precision on a GPU, which for "
            "tables is fp16 with loss scaling."
        ),
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    Field(title="Device", description="Where to train. auto: on the first GPU the job has, else on the processor."),
]
Threads = Annotated[
    int,
    Field(
        ge=1,
        le=256,
        title="Threads",
        description="Processor threads. Part of the spec because sums in another order differ in their last bits.",
        json_schema_extra={"unit": "threads"},
    ),
]
Strategy = Annotated[
    Literal["none", "ddp", "ps"],
    Field(
        title="Strategy",
        description=(
            "How several processes share the work: each takes a part of every batch. ddp: their gradients are averaged "
            "among them. ps: they send them to parameter servers, which hold the weights, on processors only. Batch "
            "sizes and learning rates mean the same as in one process."
        ),
        json_schema_extra={
            "words": {"none": "one process", "ddp": "data parallel (DDP)", "ps": "parameter servers (PS)"}
        },
    ),
    AfterValidator(require_processor),
]
ServerMode = Annotated[
    Literal["sync", "async", "bounded"],
    Field(
        title="Server mode",
        description=(
            "When parameter servers apply a gradient. sync: when all processes have sent theirs of the batch, so the "
            "losses are those of one process. async: each at once, by its share of the learning rate; nobody waits. "
            "bounded: likewise, but none gets further ahead of the slowest than the staleness."
        ),
        json_schema_extra={
            "words": {"sync": "all together", "async": "each at once", "bounded": "each at once, within a bound"}
        },
    ),
    AfterValidator(require_servers),
]
Servers = Annotated[
    int,
    Field(
        ge=1,
        le=64,
        title="Servers",
        description="Parameter servers of the whole job, each with a part of the weights; spread over its nodes.",
        json_schema_extra={"unit": "processes"},
    ),
    AfterValidator(require_servers),
]
Staleness = Annotated[
    int,
    Field(
        ge=0,
        le=1_000_000,
        title="Staleness",
        description="Steps that a process may be ahead of the slowest one in the mode bounded.",
        json_schema_extra={"unit": "steps"},
    ),
    AfterValidator(require_bounded),
]
Processes = Annotated[
    int,
    Field(
        ge=1,
        le=64,
        title="Processes",
        description="Processes on each node that share the work, each with the threads above; for a strategy.",
        json_schema_extra={"unit": "processes"},
    ),
    AfterValidator(require_strategy),
]
CheckpointEvery = Annotated[
    int,
    Field(
        ge=1,
        le=1_000_000,
        title="Checkpoint every",
        description=(
            "Steps between two checkpoints; a killed run resumes from the last one. With parameter servers it is "
            "written at the end of the epoch."
        ),
        json_schema_extra={"unit": "steps"},
    ),
]
MicroBatch = Annotated[
    int,
    Field(
        ge=0,
        le=65_536,
        title="Micro-batch",
        description=(
            "Rows computed at once: the gradients of a batch are summed over its parts, so that memory holds one part "
            "only. 0: the whole batch at once."
        ),
        json_schema_extra={"unit": "rows"},
    ),
]


class LoopSpec(Protocol):
    """What the training loop reads of a family's spec."""

    @property
    def epochs(self) -> int: ...
    @property
    def patience(self) -> int: ...
    @property
    def schedule(self) -> ScheduleSpec: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def micro_batch(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def strategy(self) -> str: ...
    @property
    def processes(self) -> int: ...
    @property
    def server_mode(self) -> str: ...
    @property
    def servers(self) -> int: ...
    @property
    def staleness(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    def model_dump(self, *, mode: str) -> dict[str, object]: ...
