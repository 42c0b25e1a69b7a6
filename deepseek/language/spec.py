"""The specs of fine-tuning a language model and of merging an adapter. Light to import: the web process reads them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from deepseek.spec_errors import build_spec_error
from deepseek.train.loop_spec import (
    CheckpointEvery,
    Device,
    Epochs,
    MicroBatch,
    Patience,
    Processes,
    ScheduleSpec,
    Seed,
    TestShare,
    Threads,
    ValidationShare,
    WeightDecay,
)

BASE, TEXTS = "base", "texts"
BASE_FILES = ("config.json", "tokenizer.json")  # that lie in every base model's folder, beside its safetensors
BaseVersion = Annotated[str, StringConstraints(max_length=80, pattern=r"^([^:/\s]+:v?[0-9]+)?$")]


class LoraSpec(BaseModel):
    """The low-rank matrices that are trained beside the frozen weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1, le=1024, title="Rank", description="Inner width of each adapter.")
    alpha: int = Field(
        32, ge=1, le=4096, title="Alpha", description="The adapter's product is multiplied by alpha divided by rank."
    )
    experts: bool = Field(
        True,
        title="Adapt the experts",
        description="Adapters on the experts' matrices too, not on the attention's projections alone.",
    )


class LanguageSpec(BaseModel):
    """Fine-tune a language model of the DeepSeek architecture on conversations, from a folder of safetensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: BaseVersion = Field(
        "",
        title="Base model",
        description="Dataset version that holds the base model's folder, as NAME:v1; empty where an input gives it.",
    )
    method: Literal["lora", "full"] = Field(
        "lora",
        title="Method",
        description="lora: train small adapters beside the frozen weights. full: train every weight.",
        json_schema_extra={"words": {"lora": "adapters (LoRA)", "full": "all weights"}},
    )
    lora: LoraSpec = Field(default_factory=LoraSpec, title="Adapters", description="For the method lora.")
    chat_template: str = Field(
        "",
        max_length=100_000,
        title="Chat template",
        description="Jinja template that turns messages into text; empty: the one of the base model's tokenizer.",
    )
    max_length: int = Field(
        0,
        ge=0,
        le=2**20,
        title="Longest text",
        description="Tokens of a text at most; 0: as many as the model has positions.",
        json_schema_extra={"unit": "tokens"},
    )
    too_long: Literal["cut", "skip", "fail"] = Field(
        "cut",
        title="Longer texts",
        description="What happens to a text of more tokens: its end is cut off, it is skipped, or the job fails.",
        json_schema_extra={"words": {"cut": "cut off the end", "skip": "skip the text", "fail": "fail"}},
    )
    samples: int = Field(
        8,
        ge=0,
        le=100,
        title="Sample answers",
        description="Held-out prompts that are answered before and after the training, for a reader to compare.",
    )
    answer_tokens: int = Field(
        64,
        ge=1,
        le=4096,
        title="Longest answer",
        description="Tokens of a sample answer at most.",
        json_schema_extra={"unit": "tokens"},
    )
    validation_share: ValidationShare = 0.1
    test_share: TestShare = 0.1
    weight_decay: WeightDecay = 0.0
    epochs: Epochs = 3
    patience: Patience = 2
    schedule: ScheduleSpec = Field(
        default_factory=ScheduleSpec, title="Schedule", description="The learning rate and the batch size, by step."
    )
    seed: Seed = 0
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto",
        title="Precision",
        description=(
            "Numbers in the forward and backward pass. auto: bf16 on a GPU that has it, else fp16 with loss scaling; "
            "fp32 on a processor."
        ),
    )
    device: Device = "auto"
    threads: Threads = 1
    strategy: Literal["none", "ddp", "fsdp"] = Field(
        "none",
        title="Strategy",
        description=(
            "How several processes share the work. ddp: each has the whole model and a part of every batch. fsdp: the "
            "weights, gradients and optimizer are shared out as well, for a model that one GPU cannot hold."
        ),
        json_schema_extra={
            "words": {"none": "one process", "ddp": "data parallel (DDP)", "fsdp": "fully sharded (FSDP2)"}
        },
    )
    processes: Processes = 1
    micro_batch: MicroBatch = 8
    activation_checkpointing: bool = Field(
        False,
        title="Recompute activations",
        description="Keep no activations within a layer and compute them again: less memory, about a third more time.",
    )
    checkpoint_every: CheckpointEvery = 100

    @property
    def server_mode(self) -> str:
        """No parameter servers train this family: neither these three fields nor the strategy ps is taken."""
        return "sync"

    @property
    def servers(self) -> int:
        return 1

    @property
    def staleness(self) -> int:
        return 0

    @field_validator("strategy")
    @classmethod
    def _fsdp_needs_no_scaling(cls, strategy: str, info: ValidationInfo) -> str:
        if strategy == "fsdp" and info.data.get("precision") == "fp16":
            raise build_spec_error(
                "fsdp_fp16", "The strategy fsdp goes with the precision bf16 or fp32, not with fp16."
            )
        return strategy


class MergeSpec(BaseModel):
    """Add an adapter to the weights of its base model, tensor by tensor, so that one model comes out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: BaseVersion = Field(
        "",
        title="Base model",
        description="Dataset version that holds the base model's folder, as NAME:v1; empty where an input gives it.",
    )
