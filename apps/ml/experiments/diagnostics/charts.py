"""The diagnostics as charts: what the tags of charts, histograms and the confusion matrix take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from deepseek.diagnostics.document import Confusion, Curve, Diagnostics, Importance, Scatter

CsvUrl = Callable[[str], str]  # of the file of one table
MAX_BARS = 15
MAX_PAIRS = 6  # of classes that were taken for another


def build_charts(diagnostics: Diagnostics, csv_url: CsvUrl) -> dict[str, Any]:
    """Chart name -> what its tag takes; None of what the task does not have."""
    scatter = diagnostics.scatter
    return {
        "roc": build_curves(diagnostics, "roc", csv_url),
        "precision_recall": build_curves(diagnostics, "precision_recall", csv_url),
        "calibration": build_calibration(diagnostics, csv_url),
        "confusion": build_confusion(diagnostics.confusion, csv_url) if diagnostics.confusion else None,
        "predicted": build_predicted(scatter, csv_url) if scatter and scatter.rows else None,
        "residuals": build_residuals(scatter, csv_url) if scatter and scatter.rows else None,
        "in_order": build_order(scatter, csv_url) if scatter and diagnostics.task == "forecast" else None,
        "histogram": diagnostics.residuals,
        "importance": build_importance(diagnostics.importance, csv_url) if diagnostics.importance else None,
    }


def build_curves(diagnostics: Diagnostics, kind: str, csv_url: CsvUrl) -> dict[str, Any] | None:
    """A curve of each class in per cent, with the area or the average precision in its name."""
    if not diagnostics.curves:
        return None
    is_roc = kind == "roc"
    series = []
    for curves in diagnostics.curves:
        curve: Curve = getattr(curves, kind)
        value = curves.auc if is_roc else curves.average_precision
        points = [(100 * x, 100 * y) for x, y in zip(curve.x, curve.y, strict=True)]
        series.append(
            {"label": f"{curves.label} · {_('AUC') if is_roc else 'AP'} {value:.3f}", "short": curves.label}
            | {"points": points}
        )
    if is_roc:
        series.append({"label": _("by chance"), "points": [(0.0, 0.0), (100.0, 100.0)]})
    return {
        "id": kind.replace("_", "-"),
        "series": series,
        "x_unit": _("false positive rate, %") if is_roc else _("recall, %"),
        "y_unit": _("true positive rate, %") if is_roc else _("precision, %"),
        "holding": (0, 100),
        "span": (0, 100),
        "csv": csv_url("curves"),
        "note": _("Classes without a curve here: %(count)s.") % {"count": diagnostics.curves_left_out}
        if diagnostics.curves_left_out
        else "",
    }


def build_calibration(diagnostics: Diagnostics, csv_url: CsvUrl) -> dict[str, Any] | None:
    """How often the model was right against how sure it was."""
    bins = [entry for entry in diagnostics.calibration if 0 <= entry.confidence <= 1 and 0 <= entry.accuracy <= 1]
    if not bins:
        return None
    points = [(100 * entry.confidence, 100 * entry.accuracy) for entry in bins]
    return {
        "id": "calibration",
        "series": [
            {"label": _("right"), "points": points},
            {"label": _("ideal"), "points": [(0.0, 0.0), (100.0, 100.0)]},
        ],
        "x_unit": _("sureness, %"),
        "y_unit": _("right, %"),
        "holding": (0, 100),
        "span": (0, 100),
        "csv": csv_url("calibration"),
    }


def build_confusion(confusion: Confusion, csv_url: CsvUrl) -> dict[str, Any]:
    """The matrix, and which classes were taken for which."""
    pairs = [
        {"actual": confusion.labels[at], "predicted": confusion.labels[to], "rows": count, "of": sum(row)}
        for at, row in enumerate(confusion.counts)
        for to, count in enumerate(row)
        if count and at != to
    ]
    pairs.sort(key=lambda pair: -pair["rows"])
    return {
        "id": "confusion",
        "labels": confusion.labels,
        "counts": confusion.counts,
        "csv": csv_url("confusion"),
        "pairs": pairs[:MAX_PAIRS] if len(confusion.labels) > 2 else [],
        "left_out": confusion.left_out,
    }


def build_predicted(scatter: Scatter, csv_url: CsvUrl) -> dict[str, Any]:
    points = list(zip(scatter.rows, scatter.actual, scatter.predicted, strict=True))
    return {
        "id": "predicted",
        "points": points,
        "of": scatter.of,
        "guide": "diagonal",
        "x_unit": _("actual"),
        "y_unit": _("predicted"),
        "csv": csv_url("predictions"),
    }


def build_residuals(scatter: Scatter, csv_url: CsvUrl) -> dict[str, Any]:
    rows = zip(scatter.rows, scatter.actual, scatter.predicted, strict=True)
    return {
        "id": "residuals",
        "points": [(row, predicted, predicted - actual) for row, actual, predicted in rows],
        "of": scatter.of,
        "guide": "zero",
        "x_unit": _("predicted"),
        "y_unit": _("residual"),
        "csv": csv_url("predictions"),
    }


def build_order(scatter: Scatter, csv_url: CsvUrl) -> dict[str, Any]:
    """A forecast beside what came, row after row."""
    return {
        "id": "in-order",
        "series": [
            {"label": _("actual"), "points": list(zip(scatter.rows, scatter.actual, strict=True))},
            {"label": _("predicted"), "points": list(zip(scatter.rows, scatter.predicted, strict=True))},
        ],
        "x_unit": _("held-out row"),
        "y_unit": _("value"),
        "csv": csv_url("predictions"),
        "zoom": True,
    }


def build_importance(importance: Importance, csv_url: CsvUrl) -> dict[str, Any] | None:
    """A bar for each feature, the most important first."""
    bars = importance.features[:MAX_BARS]
    more = len(importance.features) - len(bars) + importance.left_out
    return {
        "id": "importance",
        "bars": [
            {"label": feature.name, "value": feature.drop, "low": feature.low, "high": feature.high, "best": True}
            for feature in bars
        ],
        "unit": _("%(metric)s gets worse by") % {"metric": importance.metric},
        "head": _("Feature"),
        "csv": csv_url("importance"),
        "note": _("Less important features, not drawn: %(count)s.") % {"count": more} if more else "",
    }
