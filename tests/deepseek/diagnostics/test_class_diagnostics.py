"""Curves, confusion and calibration of classes, beside scikit-learn's figures."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from deepseek.diagnostics.build import build_class_diagnostics
from deepseek.diagnostics.classes import build_confusion, thin_curve
from deepseek.diagnostics.document import MAX_CLASSES, MAX_CURVE_POINTS, Diagnostics


def draw_shares(rows, classes, seed=0):
    draw = np.random.default_rng(seed)
    target = draw.integers(0, classes, rows)
    scores = draw.random((rows, classes)) + 0.4 * np.eye(classes)[target]
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), target


def test_two_classes():
    shares, target = draw_shares(700, 2)
    made = build_class_diagnostics(shares, target, ["no", "yes"], "answer")
    [curves] = made.curves
    assert (curves.label, curves.positives) == ("yes", int(target.sum()))
    assert made.auc == curves.auc == pytest.approx(roc_auc_score(target, shares[:, 1]), abs=1e-5)
    assert curves.average_precision == pytest.approx(average_precision_score(target, shares[:, 1]), abs=1e-5)
    assert len(curves.roc.x) <= MAX_CURVE_POINTS
    assert (curves.roc.x[0], curves.roc.y[0], curves.roc.x[-1], curves.roc.y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(curves.roc.y, curves.roc.x) == pytest.approx(curves.auc, abs=0.01)
    assert made.confusion.counts == confusion_matrix(target, shares.argmax(axis=1)).tolist()
    assert sum(entry.rows for entry in made.calibration) == 700
    assert Diagnostics.model_validate_json(made.to_json()) == made


def test_more_classes_than_curves():
    shares, target = draw_shares(900, 12)
    made = build_class_diagnostics(shares, target, [f"c{k}" for k in range(12)], "kind")
    assert (len(made.curves), made.curves_left_out) == (10, 2)
    assert made.auc == pytest.approx(roc_auc_score(target, shares, multi_class="ovr"), abs=1e-4)


def test_a_class_without_rows_has_no_curve():
    shares, target = draw_shares(90, 3)
    shares, target = shares[target < 2], target[target < 2]
    made = build_class_diagnostics(shares, target, ["a", "b", "c"], "kind")
    assert ([curves.label for curves in made.curves], made.curves_left_out, made.auc) == (["a", "b"], 1, None)


def test_a_matrix_of_many_classes_keeps_those_with_most_rows():
    target = np.concatenate([np.arange(150), np.arange(50, 150)])
    confusion = build_confusion(np.where(target == 149, 0, target), target, [f"c{k}" for k in range(150)])
    assert len(confusion.labels) == MAX_CLASSES
    assert confusion.labels[0] == "c50"
    assert confusion.left_out == 50 + 2


def test_a_thin_curve_keeps_its_ends_and_its_steep_part():
    x = np.concatenate([np.zeros(5000), np.linspace(0, 1, 11)])
    y = np.concatenate([np.linspace(0, 1, 5000), np.ones(11)])
    curve = thin_curve(x, y)
    assert len(curve.x) <= MAX_CURVE_POINTS
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert sum(value == 0 for value in curve.x) > 80
