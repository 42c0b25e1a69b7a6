"""``tradeoff.json``: what each form of a model costs and brings, and which one is recommended. Light to import."""

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.figures import AccuracyLoss, AllowedLoss, FrozenModel, Metric, NotesMixin

TRADEOFF_NAME = "tradeoff.json"
TRADEOFF_TYPE = "application/vnd.plane.tradeoff+json"
RULE: Final = "fastest-within-loss"
"""The rule that recommends; docs/models.md has it in words (`recommend_variant` in deepseek/quantize/rule.py)."""

Verdict = Literal["recommended", "offered", "slower", "uncertain", "loses_accuracy", "parent"]
"""``recommended``: by the rule. ``offered``: within the allowed loss and faster than the parent. ``slower``: not faster
than the parent. ``uncertain``: too few rows to show that the loss is within what is allowed; it may be promoted.
``loses_accuracy``: it lost more than is allowed, and cannot be promoted. ``parent``: the trained form itself."""
LeftOutReason = Literal["package_missing", "convolutions", "attention", "operator_unsupported", "not_requested"]
"""``convolutions``: with dynamic ranges they are slower than fp32. ``attention``: a product of two activations has no
weights whose range is fixed. ``not_requested``: the spec names others."""


class VariantTiming(FrozenModel):
    """Time of one call at a batch size and a number of threads, of `runs` calls; all forms took turns."""

    batch: int
    threads: int
    runs: int
    p50_us: float  # microseconds
    p95_us: float
    ratio: float  # the parent's p50 / this p50: above 1 is faster


class BatchDependence(FrozenModel):
    """Whether the outputs of a row depend on the rest of its batch: rows predicted alone, and in several batches."""

    depends: bool
    largest: float  # difference, relative to the largest output
    rows: int
    batches: list[int]  # the sizes


class VariantFigures(FrozenModel):
    """One form of the model, measured."""

    name: str  # fp32, fp32-torchscript, fp32-onnx, int8, int8-onnx, int8-static, int8-torchao
    precision: Literal["fp32", "int8"]
    method: str  # what made it, as an engineer looks it up
    runtime: Literal["torch", "onnxruntime"]  # what runs it
    format: str | None  # as model.json names it; None: it has no file
    slot: str | None  # the output that holds the file; None of the parent, and of one without a file
    path: str | None  # of the file in the folder of the outputs
    sha256: str | None
    size_bytes: int
    size_ratio: float  # the parent's size / this one's
    memory_bytes: int  # resident bytes that opening it and its first call added to the process that measured
    timings: list[VariantTiming]
    metrics: list[Metric]
    difference: list[Metric]  # this minus the parent, per metric, with a paired interval
    loss: AccuracyLoss
    max_relative_error: float  # largest difference of an output from the parent's, relative to its largest
    batch_dependence: BatchDependence
    layers_in_fp32: list[str] = []  # that stay as they were: the sensitivity names them
    calibration_rows: int | None = None  # of a static form
    verdict: Verdict
    promotable: bool


class LayerSensitivity(FrozenModel):
    """One layer, quantized alone (simulated)."""

    layer: str  # as the network names it
    kind: str  # Linear, Conv2d
    parameters: int
    loss: AccuracyLoss
    relative_error: float  # root of the mean squared difference of the outputs, relative to that of the outputs
    kept_fp32: bool


class Sensitivity(FrozenModel):
    """Which layers cost how much. Layers beyond the bounds are `skipped`; none of them is kept in fp32."""

    method: str
    rows: int
    bound: float  # a loss above it, where its interval does not hold 0, keeps the layer in fp32
    layers: list[LayerSensitivity]
    skipped: list[str] = []


class LeftOut(FrozenModel):
    """A candidate that was not made, and why."""

    name: str
    reason: LeftOutReason
    detail: str  # the package, the operator


class Tradeoff(NotesMixin, FrozenModel):
    """The document in ``tradeoff.json``. The first variant is the parent: the trained form, run by PyTorch."""

    schema_: Literal["plane/tradeoff/v1"] = Field("plane/tradeoff/v1", alias="schema")
    family: Literal["mlp", "image", "entities"]
    task: str
    target: str
    parent: str  # SHA-256 of the manifest of the trained form
    heldout: str  # SHA-256 of the rows that all were measured on
    rows: int
    confidence: float
    allowed: AllowedLoss
    rule: Literal["fastest-within-loss"] = RULE
    tie: float  # forms that are slower than the fastest by at most this share count as equally fast
    recommended: str  # the name of a variant: outputs `model`, `manifest` and `figures` are of it
    batches: list[int]
    threads: list[int]  # the first one is what the rule looks at
    variants: list[VariantFigures]
    sensitivity: Sensitivity | None
    left_out: list[LeftOut]
    machine: dict[str, Any]  # processor, cores, versions of torch and onnxruntime
    notes: list[str] = []
    notes_messages: list[dict[str, Any] | None] = []  # the ids and values of the notes (deepseek/messages.py)

    @classmethod
    def read(cls, path: Path, slot: str = "tradeoff") -> Self:
        """The document at `path`. Raises EngineError ``tradeoff_unreadable``."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise EngineError(
                "tradeoff_unreadable",
                "{path_name} holds no trade-off of a model's forms.",
                path_name=path.name,
                field=f"inputs/{slot}",
                value=str(path),
                limit="plane/tradeoff/v1",
                hint=N_("Give the tradeoff.json that `deepseek quantize` wrote."),
            ) from error
