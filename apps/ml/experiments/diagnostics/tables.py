"""What is drawn of the diagnostics as tables: a head and rows of values for a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from apps.core.lists.csv_files import encode_csv, format_cell
from deepseek.diagnostics.document import Diagnostics

Rows = Iterator[tuple[Any, ...]]


def iter_curves(diagnostics: Diagnostics) -> Rows:
    yield "class", "curve", "x", "y"
    for curves in diagnostics.curves:
        for kind, curve in (("roc", curves.roc), ("precision_recall", curves.precision_recall)):
            for x, y in zip(curve.x, curve.y, strict=True):
                yield curves.label, kind, x, y


def iter_calibration(diagnostics: Diagnostics) -> Rows:
    yield "low", "high", "rows", "confidence", "accuracy"
    for entry in diagnostics.calibration:
        yield entry.low, entry.high, entry.rows, entry.confidence, entry.accuracy


def iter_confusion(diagnostics: Diagnostics) -> Rows:
    confusion = diagnostics.confusion
    labels = confusion.labels if confusion else []
    yield "actual", *labels
    for label, counts in zip(labels, confusion.counts if confusion else [], strict=True):
        yield label, *counts


def iter_predictions(diagnostics: Diagnostics) -> Rows:
    yield "row", "actual", "predicted"
    if scatter := diagnostics.scatter:
        yield from zip(scatter.rows, scatter.actual, scatter.predicted, strict=True)


def iter_importance(diagnostics: Diagnostics) -> Rows:
    yield "feature", "drop", "low", "high"
    for feature in diagnostics.importance.features if diagnostics.importance else []:
        yield feature.name, feature.drop, feature.low, feature.high


TABLES: dict[str, Callable[[Diagnostics], Rows]] = {
    "curves": iter_curves,
    "calibration": iter_calibration,
    "confusion": iter_confusion,
    "predictions": iter_predictions,
    "importance": iter_importance,
}


def encode_table(name: str, diagnostics: Diagnostics) -> bytes:
    """One of TABLES as the bytes of a CSV file."""
    return encode_csv([format_cell(cell) for cell in row] for row in TABLES[name](diagnostics))
