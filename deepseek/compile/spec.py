"""The spec of compiling one model. Light to import: the web process reads it."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepseek.compile.target import EXAMPLES, HOST, parse_target


class CompileSpec(BaseModel):
    """Compile a model with TVM for this machine or another one, and compare it with PyTorch on it or its emulation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = Field(
        HOST,
        max_length=200,
        title="Target",
        examples=list(EXAMPLES),
        description="host: the machine that runs the job. Else a triple (aarch64-linux-gnu), or llvm with options.",
    )
    opt_level: int = Field(
        3, ge=0, le=3, title="Optimisation level", description="How much TVM optimises; 3 is everything."
    )
    batch: int = Field(
        1,
        ge=1,
        le=4096,
        title="Batch size",
        description="Rows that one call of the compiled model takes.",
        json_schema_extra={"unit": "rows"},
    )
    trials: int = Field(
        64,
        ge=0,
        le=100_000,
        title="Tuning trials",
        description=(
            "Maximum number of tilings of matrix products and convolutions tried on this machine, those known from "
            "earlier jobs among them. 0: no tuning, a heuristic is used."
        ),
        json_schema_extra={"unit": "trials"},
    )
    seconds: int = Field(
        600,
        ge=0,
        le=86_400,
        title="Tuning time",
        description="Tuning ends after this time, whatever number of trials is asked for.",
        json_schema_extra={"unit": "seconds"},
    )
    length: int = Field(
        0,
        ge=0,
        le=2048,
        title="Tokens",
        description="Of a text that a model of entities takes at once: shorter ones are padded, longer ones cut. "
        "0: as many as it was trained for.",
        json_schema_extra={"unit": "tokens"},
    )
    tolerance: float = Field(
        1e-4,
        gt=0,
        le=1,
        title="Tolerance",
        description="Largest difference from PyTorch's outputs, relative to their largest value; more is a failure.",
    )
    runs: int = Field(
        200,
        ge=10,
        le=100_000,
        title="Runs",
        description="Calls of each model that a latency is the median of; the two models take turns.",
        json_schema_extra={"unit": "calls"},
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        title="Threads",
        description="Processor threads while tuning and measuring.",
        json_schema_extra={"unit": "threads"},
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Of the search and of fresh inputs.")

    @field_validator("target")
    @classmethod
    def _check_target(cls, text: str) -> str:
        parse_target(text)
        return text
