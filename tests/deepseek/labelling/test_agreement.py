"""Coefficients of agreement beside those of the libraries on the same units, and by hand."""

from __future__ import annotations

import pytest

from deepseek.labelling.marks import Relation, Span, build_marks

pytest.importorskip("krippendorff")
from deepseek.labelling.agreement import AgreementTask, compute_alpha, compute_cohen, compute_fleiss, measure_agreement

TEXT = "Ada works at ACME"  # four tokens
BOTH = build_marks([Span(0, 3, "PERSON"), Span(13, 17, "ORG")], [Relation(0, 1, "works_for")])
ONE = build_marks([Span(0, 3, "PERSON")])


def test_equal_marks_agree_completely():
    figures = measure_agreement([AgreementTask(TEXT, {"A1": BOTH, "A2": BOTH}, BOTH)])
    assert (figures["value"], figures["fleiss"], figures["pairs"][0]["cohen"]) == (1.0, 1.0, 1.0)
    assert {row["f1"] for row in (*figures["labels"], *figures["annotators"], *figures["gold"])} == {1.0}


def test_span_f1_by_label_pair_and_annotator():
    figures = measure_agreement([AgreementTask(TEXT, {"A1": BOTH, "A2": ONE}, ONE)])
    assert {row["label"]: row["f1"] for row in figures["labels"]} == {"ORG": 0.0, "PERSON": 1.0, "works_for": 0.0}
    assert figures["pairs"][0]["f1"] == pytest.approx(0.5)  # 2 * 1 / (3 + 1)
    assert [row["f1"] for row in figures["gold"]] == [pytest.approx(0.5), 1.0]


def test_one_annotator_alone_measures_nothing():
    figures = measure_agreement([AgreementTask(TEXT, {"A1": BOTH})])
    assert (figures["tasks"], figures["value"], figures["pairs"]) == (0, None, [])


def test_the_example_of_krippendorff():
    """Two observers, ten units of two values: alpha 0.095 (Computing Krippendorff's Alpha-Reliability, 2011, A)."""
    first, second = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    units = [{"a": str(a), "b": str(b)} for a, b in zip(first, second, strict=True)]
    assert compute_alpha(units) == pytest.approx(0.095, abs=5e-4)


def test_kappas_by_hand():
    pairs = [("a", "a")] * 20 + [("b", "b")] * 15 + [("a", "b")] * 5 + [("b", "a")] * 10
    assert compute_cohen(pairs) == pytest.approx(0.4)
    units = [{"1": one, "2": other} for one, other in pairs]
    assert compute_fleiss(units) == pytest.approx((0.7 - 0.505) / 0.495)
    assert compute_cohen([("a", "a")]) == 1.0
