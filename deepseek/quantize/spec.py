"""The spec of quantizing one model. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BatchSize = Annotated[int, Field(ge=1, le=4096)]


class QuantizeSpec(BaseModel):
    """Export a model as TorchScript, make its linear layers 8-bit, and measure what that costs and brings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["qint8"] = Field(
        "qint8", title="Type", description="Type of the quantized weights: signed 8-bit integers."
    )
    batches: list[BatchSize] = Field(
        [1, 32],
        min_length=1,
        max_length=8,
        title="Batch sizes",
        description="Latency is measured at each of these batch sizes.",
        json_schema_extra={"unit": "rows"},
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
        description="Processor threads while measuring.",
        json_schema_extra={"unit": "threads"},
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        title="Confidence",
        description="Of the interval around each difference in accuracy.",
    )
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="Of fresh inputs and of the bootstrap.")
