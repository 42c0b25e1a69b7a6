"""``evaluation.json``: what was measured of one form of a model on one table. Light to import."""

from typing import Any, Literal

from pydantic import Field

from deepseek.models.figures import FrozenModel, Metric, NotesMixin

EVALUATION_NAME = "evaluation.json"
EVALUATION_TYPE = "application/vnd.plane.evaluation+json"


class SliceFigures(FrozenModel):
    """The figures of some of the rows; without metrics where they are too few."""

    column: str
    value: str
    rows: int
    metrics: list[Metric]


class CalibrationBin(FrozenModel):
    """Rows whose largest share lies in (low, high]: how sure the model was, and how often it was right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


class Pace(FrozenModel):
    """Time of one call, in microseconds, over `runs` calls, and the rows that come through in a second."""

    batch: int
    threads: int
    runs: int
    p50_us: float
    p95_us: float
    rows_per_second: float


class Memory(FrozenModel):
    """Resident bytes of the process: what opening the model and its first call added, and the most there ever were."""

    model_bytes: int
    peak_bytes: int


class Evaluation(NotesMixin, FrozenModel):
    """The document in ``evaluation.json``."""

    schema_: Literal["plane/evaluation/v1"] = Field("plane/evaluation/v1", alias="schema")
    task: Literal["classification", "regression", "forecast", "ranking", "entities", "language"]
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
