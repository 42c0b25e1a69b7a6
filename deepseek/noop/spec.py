"""The spec of the job that does nothing."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class NoopSpec(BaseModel):
    """Do nothing, for a while, and perhaps fail: a job to try queues, limits, cancelling and clean-up with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(
        0.0,
        ge=0,
        le=86400,
        title="Duration",
        description="How long the job sleeps in all, spread evenly over its steps.",
        json_schema_extra={"unit": "seconds"},
    )
    steps: int = Field(
        1,
        ge=1,
        le=100_000,
        title="Steps",
        description="Number of steps, each of which reports progress once.",
        json_schema_extra={"unit": "steps"},
    )
    log_lines: int = Field(
        0,
        ge=0,
        le=100_000,
        title="Log lines",
        description="Number of lines the job logs, spread evenly over its steps.",
        json_schema_extra={"unit": "lines"},
    )
    fail: Literal["", "error", "exception", "crash", "memory", "hang"] = Field(
        "",
        title="Failure",
        description=(
            "How the job fails after its last step: not at all, with a named error, with an unexpected exception, "
            "by a segmentation fault, by asking for more memory than it gets, or by ignoring requests to stop."
        ),
    )
    memory_mib: int = Field(
        4096,
        ge=1,
        le=1_048_576,
        title="Memory to ask for",
        description="With the failure 'memory': the most the job takes before it gives up, to spare the node.",
        json_schema_extra={"unit": "MiB"},
    )
    children: int = Field(
        0,
        ge=0,
        le=8,
        title="Child processes",
        description=(
            "Number of sleeping processes the job starts in sessions of their own and leaves behind. "
            "Whoever runs the job must end them; left alone they end ten minutes after the duration."
        ),
        json_schema_extra={"unit": "processes"},
    )
    echo: str = Field(
        "",
        max_length=1000,
        title="Echo",
        description="Text that becomes the output 'echo', a text file; empty for no such output.",
    )
    value: float | None = Field(
        None,
        allow_inf_nan=False,
        title="Value",
        description="Number that the job reports as the metric 'value' at each step, to try sweeps with; empty: none.",
    )
