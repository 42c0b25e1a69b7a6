"""``evaluation.json``: what was measured of one form of a model on one table. Light to import."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from deepseek.messages import record_messages
from deepseek.models.figures import Metric

EVALUATION_NAME = "evaluation.json"
EVALUATION_TYPE = "application/vnd.plane.evaluation+json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SliceFigures(_Frozen):
    """The figures of some of the rows; without metrics where they are too few."""

    column: str
    value: str
    rows: int
    metrics: list[Metric]


class CalibrationBin(_Frozen):
    """Rows whose largest share lies in (low, high]: how sure the model was, and how often it was right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


class Pace(_Frozen):
    """Time of one call, in microseconds, over `runs` calls, and the rows that come through in a second."""

    batch: int
    threads: int
    runs: int
    p50_us: float
    p95_us: float
    rows_per_second: float


class Memory(_Frozen):
    """Resident bytes of the process: what opening the model and its first call added, and the most there ever were."""

    model_bytes: int
    peak_bytes: int


class Evaluation(_Frozen):
    schema_: Literal["plane/evaluation/v1"] = Field("plane/evaluation/v1", alias="schema")
    task: Literal["classification", "regression", "forecast", "ranking"]
    target: str
    variant: str
    format: str
    model: str | None = None  # SHA-256 of the model file and of its manifest; None where predictions were given
    manifest: str | None = None
    predictions: str | None = None  # SHA-256 of the table of predictions that were made elsewhere
    table: str  # SHA-256
    rows: int
    left_out: int  # rows of the table that lack an input, a prediction or the target
    queries: int | None = None  # of a ranking
    positive: str | None = None  # the class that precision and recall are of, of two
    horizon: int | None = None  # of a forecast, in rows
    spec: dict[str, Any]
    pairing: str  # equal for two evaluations whose replicates drew the same rows: those may be subtracted
    replicates: int
    metrics: list[Metric]
    slices: list[SliceFigures]
    calibration: list[CalibrationBin] = []
    latency: list[Pace] = []  # this, size and memory are of a model that was run here
    size_bytes: int | None = None
    memory: Memory | None = None
    notes: list[str] = []
    notes_messages: list[dict[str, Any] | None] = []  # the ids and values of the notes (deepseek/messages.py)

    @model_validator(mode="before")
    @classmethod
    def keep_messages(cls, data: Any) -> Any:
        return {**data, **record_messages({"notes": data["notes"]})} if "notes" in data else data

    @model_serializer(mode="wrap")
    def leave_out_empty_messages(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = dump(self)
        if not self.notes_messages:
            del document["notes_messages"]
        return document

    def text(self) -> str:
        """JSON, as written to ``evaluation.json``."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"
