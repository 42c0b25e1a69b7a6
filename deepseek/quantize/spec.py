"""The spec of quantizing one model. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BatchSize = Annotated[int, Field(ge=1, le=4096)]
Candidate = Literal["int8", "int8-onnx", "int8-static", "int8-torchao"]
CALIBRATION = "calibration"
"""The optional input slot: rows to find the ranges of a static form on, in a file as `heldout` is."""


class QuantizeSpec(BaseModel):
    """Make 8-bit forms of a model, measure what each costs and brings beside fp32, and recommend one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["qint8"] = Field(
        "qint8", title="Type", description="Type of the quantized weights: signed 8-bit integers."
    )
    candidates: list[Candidate] = Field(
        [],
        max_length=4,
        title="Candidates",
        description=(
            "int8 (torch's quantize_dynamic), int8-onnx (ONNX Runtime, dynamic), int8-static (ONNX Runtime, "
            "calibrated), int8-torchao; empty: all that fit the model and whose packages are installed."
        ),
    )
    max_accuracy_loss: float = Field(
        0.5,
        ge=0,
        le=100,
        title="Allowed loss",
        description=(
            "A form that loses more cannot be promoted: percentage points of accuracy or F1, or percent of the RMSE."
        ),
        json_schema_extra={"unit": "points or percent"},
    )
    batches: list[BatchSize] = Field(
        [1, 32],
        min_length=1,
        max_length=8,
        title="Batch sizes",
        description="Latency is measured at each of these batch sizes; the first one decides what is recommended.",
        json_schema_extra={"unit": "rows"},
    )
    runs: int = Field(
        200,
        ge=10,
        le=100_000,
        title="Runs",
        description="Calls of each form that a latency is the median of; all forms take turns.",
        json_schema_extra={"unit": "calls"},
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        title="Threads",
        description="Processor threads while measuring; latency is also measured with as many as the machine has.",
        json_schema_extra={"unit": "threads"},
    )
    calibration_rows: int = Field(
        64,
        ge=1,
        le=10_000,
        title="Calibration rows",
        description="Rows that a static form takes its ranges from, at most; held-out ones without an input for it.",
        json_schema_extra={"unit": "rows"},
    )
    sensitivity_layers: int = Field(
        24,
        ge=0,
        le=500,
        title="Layers tried alone",
        description="Layers that are quantized alone to see what each costs, the largest first; 0: none.",
        json_schema_extra={"unit": "layers"},
    )
    sensitivity_rows: int = Field(
        256,
        ge=10,
        le=100_000,
        title="Rows for each layer",
        description="Held-out rows that each layer is measured on, at most; of images a quarter of them.",
        json_schema_extra={"unit": "rows"},
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        title="Confidence",
        description="Of the interval around each difference in accuracy.",
    )
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="Of fresh inputs and of the bootstrap.")
