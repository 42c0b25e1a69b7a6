"""``diagnostics.json``: what a trained model does on its held-out rows, ready to be drawn. Light to import."""

import json
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from deepseek.evaluate.document import CalibrationBin
from deepseek.models.figures import FrozenModel

DIAGNOSTICS_NAME = "diagnostics.json"
DIAGNOSTICS_TYPE = "application/vnd.plane.diagnostics+json"
MAX_CURVE_POINTS = 200
MAX_CURVES = 10  # classes that are drawn against the rest, those with the most rows
MAX_CLASSES = 100  # of a confusion matrix
MAX_SCATTER_POINTS = 1000
MAX_FEATURES = 50  # whose importance is told
MAX_BINS = 40

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Name = Annotated[str, Field(max_length=500)]
M = TypeVar("M", bound=FrozenModel)


class Curve(FrozenModel):
    """Points of a curve in shares, from its start to its end."""

    x: list[Share] = Field(min_length=2, max_length=MAX_CURVE_POINTS)
    y: list[Share] = Field(min_length=2, max_length=MAX_CURVE_POINTS)

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        return _require(self, len(self.x) == len(self.y), "x and y differ in length")


class ClassCurves(FrozenModel):
    """How well the share of one class tells its rows from all others."""

    label: Name
    positives: Count  # rows of this class
    auc: Share
    average_precision: Share
    roc: Curve  # x: false positive rate, y: true positive rate
    precision_recall: Curve  # x: recall, y: precision


class Confusion(FrozenModel):
    """Rows by their class and by the class that was predicted: `counts[actual][predicted]`."""

    labels: list[Name] = Field(max_length=MAX_CLASSES)
    counts: list[list[Count]] = Field(max_length=MAX_CLASSES)
    left_out: Count = 0  # rows whose class, or predicted class, is not among the labels

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        size = len(self.labels)
        return _require(self, [len(row) for row in self.counts] == [size] * size, "the matrix is not square")


class Scatter(FrozenModel):
    """Held-out rows, all or some drawn by the seed: their places, counted from 0, targets and predictions."""

    of: Count  # rows that they were drawn from
    rows: list[Count] = Field(max_length=MAX_SCATTER_POINTS)
    actual: list[float] = Field(max_length=MAX_SCATTER_POINTS)
    predicted: list[float] = Field(max_length=MAX_SCATTER_POINTS)

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        even = len(self.rows) == len(self.actual) == len(self.predicted)
        return _require(self, even, "rows, actual and predicted differ in length")


class Residuals(FrozenModel):
    """Predictions less targets, of all held-out rows, in bins of equal width."""

    mean: float
    deviation: float
    edges: list[float] = Field(min_length=2, max_length=MAX_BINS + 1)
    counts: list[Count] = Field(min_length=1, max_length=MAX_BINS)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return _require(self, len(self.edges) == len(self.counts) + 1, "one edge more than counts")


class FeatureImportance(FrozenModel):
    """By how much the metric gets worse when the column is shuffled: the mean of the repeats, and their range."""

    name: Name
    drop: float
    low: float
    high: float


class Importance(FrozenModel):
    """Permutation importance (Breiman, "Random Forests", 2001) on held-out rows."""

    metric: Name
    value: float  # of the metric on these rows, nothing shuffled
    rows: Count
    repeats: Count
    features: list[FeatureImportance] = Field(max_length=MAX_FEATURES)  # the most important first
    left_out: Count = 0  # features that are not among them


class Diagnostics(FrozenModel):
    """The document in ``diagnostics.json``; what a task does not have is empty or null."""

    schema_: Literal["plane/diagnostics/v1"] = Field("plane/diagnostics/v1", alias="schema")
    task: Literal["classification", "regression", "forecast"]
    target: Name
    rows: Count  # held out
    auc: Share | None = None  # of two classes that of the second, of more the mean of each against the rest
    curves: list[ClassCurves] = Field(default=[], max_length=MAX_CURVES)
    curves_left_out: Count = 0  # classes that have no curve here
    confusion: Confusion | None = None
    calibration: list[CalibrationBin] = Field(default=[], max_length=MAX_BINS)
    scatter: Scatter | None = None
    residuals: Residuals | None = None
    importance: Importance | None = None

    def to_json(self) -> str:
        """The text of the file; equal documents give equal bytes."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _require(model: M, condition: bool, problem: str) -> M:
    if not condition:
        raise ValueError(problem)
    return model
