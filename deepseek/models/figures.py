"""``figures.json``: what was measured of a model, in one shape for every form. Light to import."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from deepseek.job import EngineError
from deepseek.messages import N_, record_messages

FIGURES_NAME = "figures.json"
FIGURES_TYPE = "application/vnd.plane.figures+json"


class FrozenModel(BaseModel):
    """A record that never changes: unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NotesMixin(BaseModel):
    """Reads and writes a document with `notes` as JSON; `notes_messages` has their message ids and parameters.

    It has no fields of its own, so that a document's fields keep their order.
    """

    @model_validator(mode="before")
    @classmethod
    def record_note_messages(cls, data: Any) -> Any:
        return {**data, **record_messages({"notes": data["notes"]})} if "notes" in data else data

    @model_serializer(mode="wrap")
    def skip_empty_note_messages(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = dump(self)
        if not document.get("notes_messages"):
            document.pop("notes_messages", None)
        return document

    def to_json(self) -> str:
        """Return the text of the JSON file, with sorted keys."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


class Metric(FrozenModel):
    """One figure over the held-out rows, with its interval."""

    name: str  # accuracy, f1_macro, rmse, mae...
    value: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None  # 0.95
    method: str = ""  # how the interval was made: "wilson", "bootstrap"
    better: Literal["higher", "lower"]
    unit: str = ""


class Baseline(FrozenModel):
    """What a model must beat, measured on the same rows."""

    name: str  # "last value", "most frequent class", "mean"
    metrics: list[Metric]
    difference: list[Metric] = []  # the model minus it, per metric, with a paired interval


class Reference(Baseline):
    """A model of another kind with default settings, fitted to the same training rows and measured on the same rows."""

    library: str  # "scikit-learn 1.9.1"
    rows: int  # that it was fitted to
    training_rows: int  # that there were
    iterations: int


def _is_empty(value: Any) -> bool:
    return not value


class Latency(FrozenModel):
    """Time of one call, against the parent form in the same run; the two took turns."""

    batch: int
    threads: int
    runs: int
    median_us: float  # microseconds
    against: str  # the other: "fp32 eager"
    against_median_us: float
    ratio: float  # against / this: above 1 is faster


class Agreement(FrozenModel):
    """How far this form is from its parent, on the same held-out rows."""

    max_abs_error: float
    max_rel_error: float  # relative to the parent's largest output
    same_class: Metric | None = None  # of a classification: share of equal predictions
    difference: list[Metric] = []  # this minus the parent, per metric, with a paired interval


class AccuracyLoss(FrozenModel):
    """How much worse than the parent, on the same rows, in `unit`; below 0 is better. The interval is paired."""

    metric: str  # the task's first: accuracy, f1, rmse
    value: float
    low: float
    high: float  # the worst that the rows do not rule out
    unit: Literal["points", "percent"]  # percentage points of a share; percent of the parent's error


class AllowedLoss(FrozenModel):
    """What a form may lose: `limit` in `unit` of `metric`."""

    metric: str
    limit: float
    unit: Literal["points", "percent"]


class Allowance(FrozenModel):
    """What a quantized form lost, and what it was allowed to: one that `exceeded` it cannot be promoted."""

    loss: AccuracyLoss
    allowed: AllowedLoss
    exceeded: bool


class ClassFigures(FrozenModel):
    """Figures of one class over the held-out rows; None where the class never occurs, or is never predicted."""

    name: str
    rows: int  # that are of the class
    precision: float | None = None
    recall: Metric | None = None
    f1: float | None = None


class Figures(NotesMixin, FrozenModel):
    """What was measured of one form of a model."""

    schema_: Literal["plane/figures/v1"] = Field("plane/figures/v1", alias="schema")
    variant: str
    rows: int  # held-out rows
    metrics: list[Metric]
    baseline: Baseline | None = None
    references: list[Reference] = Field([], exclude_if=_is_empty)  # older documents lack the key
    classes: list[ClassFigures] = Field([], exclude_if=_is_empty)  # of a classification of images
    size_bytes: int
    size_ratio: float | None = None  # parent's size / this one's
    latency: list[Latency] = []
    agreement: Agreement | None = None
    allowance: Allowance | None = Field(None, exclude_if=_is_empty)  # of a quantized form; older ones lack the key
    notes: list[str] = []  # sentences for a reader: what is slower, what was left out
    notes_messages: list[dict[str, Any] | None] = []  # the ids and values of the notes (deepseek/messages.py)

    @classmethod
    def read(cls, path: Path, slot: str = "figures") -> Self:
        """The figures at `path`. Raises EngineError ``figures_unreadable``."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise EngineError(
                "figures_unreadable",
                "{path_name} holds no figures of a model.",
                path_name=path.name,
                field=f"inputs/{slot}",
                value=str(path),
                limit="plane/figures/v1",
                hint=N_("Give the figures.json that lies beside the model."),
            ) from error
