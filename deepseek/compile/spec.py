"""The spec of compiling one model. Light to import: the web process reads it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CompileSpec(BaseModel):
    """Compile a model with TVM for the processor of this machine, compare it with PyTorch, and measure it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Literal["host"] = Field(
        "host", title="Target", description="The processor to compile for: the one of the machine that runs the job."
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
            "Maximum number of tilings of matrix products tried on this machine. 0: no tuning, a heuristic is used."
        ),
        json_schema_extra={"unit": "trials"},
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
