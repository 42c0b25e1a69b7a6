"""Drawings: well-formed, escaped, and the same bytes for the same diagnostics."""

from xml.etree import ElementTree

import numpy as np

from deepseek.diagnostics.build import build_class_diagnostics, build_value_diagnostics, write_diagnostics
from deepseek.diagnostics.document import FeatureImportance, Importance
from deepseek.diagnostics.plots import draw_plots

DRAW = np.random.default_rng(0)
IMPORTANCE = Importance(
    metric="accuracy",
    value=0.9,
    rows=10,
    repeats=5,
    features=[FeatureImportance(name="<a> & \x07", drop=0.1, low=-0.1, high=0.2)],
)


def diagnose_classes(classes=3, rows=90):
    shares = DRAW.random((rows, classes)).astype(np.float32)
    target = np.arange(rows) % classes
    return build_class_diagnostics(
        shares / shares.sum(axis=1, keepdims=True), target, [f"<{k}>" for k in range(classes)], "y", IMPORTANCE
    )


def test_drawings_of_classes(tmp_path):
    made = diagnose_classes()
    plots = draw_plots(made)
    assert list(plots) == ["roc.svg", "precision_recall.svg", "calibration.svg", "confusion.svg", "importance.svg"]
    assert plots == draw_plots(made)
    for name, text in plots.items():
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg"), name
        assert "script" not in text
    outputs = write_diagnostics(made, tmp_path)
    assert [output.slot for output in outputs] == ["diagnostics", *(f"plots/{name}" for name in plots)]
    assert all((tmp_path / output.path).is_file() for output in outputs)


def test_a_drawing_of_many_classes():
    assert len(draw_plots(diagnose_classes(60, 300))["confusion.svg"]) < 60_000


def test_drawings_of_values():
    outputs = DRAW.normal(size=(40, 1)).astype(np.float32)
    plots = draw_plots(build_value_diagnostics("regression", outputs, outputs[:, 0], "y", 0))
    assert list(plots) == ["predicted.svg", "residuals.svg", "residual_histogram.svg"]
    for text in plots.values():
        ElementTree.fromstring(text)


def test_drawings_of_one_row():
    made = build_value_diagnostics("regression", np.zeros((1, 1), np.float32), np.zeros(1, np.float32), "y", 0)
    assert draw_plots(made)
