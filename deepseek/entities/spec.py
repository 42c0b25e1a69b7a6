"""The spec of a training on texts with marked entities. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

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

TEXTS, WEIGHTS = "texts", "weights"
"""The input slots: texts with their spans, and perhaps the model file of an earlier training to go on from."""

Label = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]
OnFault = Literal["fail", "skip"]
FAULT_WORDS: dict[str, JsonValue] = {"fail": "refuse the file", "skip": "leave the text out"}


class EntitiesSpec(BaseModel):
    """Train a small transformer to find entities in texts: Chinese by character, other scripts by word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: list[Label] = Field(
        ["PERSON", "ORG"],
        min_length=1,
        max_length=50,
        title="Labels",
        description="The kinds of entities to find.",
    )
    format: Literal["auto", "jsonl", "label_studio", "conll"] = Field(
        "auto",
        title="Format of the texts",
        description=(
            "JSON lines with a text and its spans, an export of Label Studio (JSON), or two columns of token and BIO "
            "tag (CoNLL). auto: told from how the file begins."
        ),
        json_schema_extra={
            "words": {
                "auto": "as the file begins",
                "jsonl": "JSON lines",
                "label_studio": "Label Studio (JSON)",
                "conll": "token and BIO tag (CoNLL)",
            }
        },
    )
    other_labels: Literal["fail", "ignore", "skip"] = Field(
        "fail",
        title="Other labels",
        description="What to do about a span whose label is none of the above.",
        json_schema_extra={"words": {**FAULT_WORDS, "ignore": "ignore the span"}},
    )
    invalid: OnFault = Field(
        "fail",
        title="Invalid texts",
        description="What to do about a text whose spans overlap or lie outside it, or a line that cannot be read.",
        json_schema_extra={"words": FAULT_WORDS},
    )
    borders: Literal["expand", "skip", "fail"] = Field(
        "expand",
        title="Borders inside a word",
        description="What to do about a span that begins or ends inside a word.",
        json_schema_extra={"words": {**FAULT_WORDS, "expand": "extend the span to the whole word"}},
    )
    too_long: Literal["split", "skip", "fail"] = Field(
        "split",
        title="Long texts",
        description="What to do about a text of more tokens than the model takes at once.",
        json_schema_extra={"words": {**FAULT_WORDS, "split": "cut between sentences"}},
    )
    max_length: int = Field(
        128,
        ge=8,
        le=2048,
        title="Longest text",
        description="Tokens that the model sees at once: a Chinese character, a word or a punctuation mark each.",
        json_schema_extra={"unit": "tokens"},
    )
    validation_share: ValidationShare = 0.15
    test_share: TestShare = 0.15
    width: int = Field(
        128,
        ge=8,
        le=1024,
        title="Width",
        description="Numbers that stand for each token in each layer.",
        json_schema_extra={"unit": "units"},
    )
    layers: int = Field(2, ge=1, le=24, title="Layers", description="Transformer layers.")
    heads: int = Field(
        4, ge=1, le=32, title="Heads", description="Attention heads of each layer; they share its width."
    )
    vocabulary: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        title="Vocabulary",
        description=(
            "Words with a vector of their own, the most frequent first. Others are known by their letters and their "
            "neighbors, as are words that occur once."
        ),
        json_schema_extra={"unit": "tokens"},
    )
    buckets: int = Field(
        16_384,
        ge=64,
        le=1_000_000,
        title="Buckets",
        description="Vectors that prefixes, suffixes and pairs of neighbors share, by their hash.",
    )
    token_dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        title="Token dropout",
        description=(
            "Share of words taken for unknown at each training step, so that the model learns from what is around them."
        ),
    )
    dropout: Dropout = 0.2
    weight_decay: WeightDecay = 1e-2
    epochs: Epochs = 30
    patience: Patience = 5
    schedule: ScheduleSpec = Field(
        default_factory=ScheduleSpec, title="Schedule", description="The learning rate and the batch size, by step."
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
    activation_checkpointing: bool = Field(
        False,
        title="Activation checkpointing",
        description="Compute what lies between the layers twice instead of keeping it: a third slower, less memory.",
    )
    checkpoint_every: CheckpointEvery = 100

    _no_repeats = field_validator("labels")(refuse_repeats)

    @field_validator("heads")
    @classmethod
    def _share_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width")
        if width is not None and width % heads:
            raise build_spec_error(
                "heads_share_width", "The width {width} is no multiple of {heads} heads.", width=width, heads=heads
            )
        return heads
