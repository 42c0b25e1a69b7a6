"""Samples of every kind as a file, and what is refused."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from deepseek.diagnostics.samples import SAMPLES, serialize_samples
from deepseek.diagnostics.wrong_rows import list_wrong_rows

IMAGE = {"image": "data:image/png;base64,AAAA", "target": "a", "prediction": "b", "share": 0.5, "name": "1.png"}
TEXT = {"text": "At Apple", "target": [{"start": 3, "end": 8, "label": "ORG"}], "prediction": []}
ANSWER = {"prompt": "2+2", "target": "4", "before": "fish", "after": "4"}
ROW = {"row": 3, "target": 1.5, "prediction": 2, "features": {"a": 1.0, "b": "x", "c": None}}


@pytest.mark.parametrize(("kind", "sample"), [("image", IMAGE), ("text", TEXT), ("answers", ANSWER), ("rows", ROW)])
def test_a_sample_is_read_as_it_was_written(kind, sample):
    text = serialize_samples(kind, [sample])
    assert json.loads(text) == {"schema": "plane/samples/v1", "kind": kind, "samples": [sample]}
    assert SAMPLES.validate_json(text).kind == kind


@pytest.mark.parametrize(
    ("kind", "sample"),
    [
        ("audio", IMAGE),
        ("image", {**IMAGE, "share": 1.5}),
        ("text", {**TEXT, "prediction": [{"start": -1, "end": 2, "label": "X"}]}),
        ("answers", {"prompt": "2+2"}),
        ("rows", {**ROW, "target": float("nan")}),
    ],
)
def test_a_wrong_sample_is_refused(kind, sample):
    with pytest.raises(ValidationError):
        serialize_samples(kind, [sample])


def test_wrong_rows_of_classes():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]] * 10, np.float32)
    rows = list_wrong_rows(shares, np.array([1, 1, 1] * 10), np.zeros((30, 2), np.float32), "ab", ["no", "yes"], ["b"])
    assert len(rows) == 20
    assert rows[0] == {
        "row": 0,
        "target": "yes",
        "prediction": "no",
        "share": pytest.approx(0.9),
        "target_share": pytest.approx(0.1),
        "features": {"b": 0, "a": 0},
    }
    assert list(rows[0]["features"]) == ["b", "a"]


def test_a_model_that_is_right_shows_where_it_is_least_sure():
    shares = np.array([[0.9, 0.1]] * 29 + [[0.6, 0.4]], np.float32)
    rows = list_wrong_rows(shares, np.zeros(30, np.int64), np.zeros((30, 1), np.float32), "a", ["no", "yes"])
    assert [row["row"] for row in rows] == [29, 0, 1, 2, 3]


def test_wrong_rows_of_values():
    outputs, target = np.arange(30, dtype=np.float32)[:, None], np.zeros(30, np.float32)
    rows = list_wrong_rows(outputs, target, np.ones((30, 1), np.float32), "a", [])
    assert [row["row"] for row in rows[:2]] == [29, 28]
    assert rows[0] == {"row": 29, "target": 0, "prediction": 29, "features": {"a": 1}}


def test_categories_are_told_by_their_words():
    codes = np.array([[0], [1], [2]] * 4, np.float32)
    rows = list_wrong_rows(np.zeros((12, 1), np.float32), np.arange(12.0), codes, "a", [], categories={"a": ["x", "y"]})
    assert [row["features"]["a"] for row in rows[-3:]] == [None, "y", "x"]
