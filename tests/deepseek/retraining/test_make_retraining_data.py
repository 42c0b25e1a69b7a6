"""Training data of observations, by the engine alone."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError, Silent
from deepseek.observations.pack import pack_parts
from deepseek.retraining.run import run
from deepseek.retraining.spec import RetrainingDataSpec

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
MICROSECOND = round(START.timestamp() * 1e6)
SPEC = {"model": "m", "since": START, "until": START + timedelta(hours=1), "task": "classification", "target": "kind"}


def write_part(path, kind, rows):
    lines = [json.dumps({"kind": kind, "rows": len(rows), "out": str(path)}), *map(json.dumps, rows)]
    pack_parts(iter(f"{line}\n".encode() for line in lines), lambda out: pa.OSFile(out, "wb"))
    return path


@pytest.fixture
def make(tmp_path):
    """make(predictions={source: [(id, features)]}, labels={source: {id: label}}, **spec) -> (result, table, fresh)."""

    def write(predictions, labels, base=None, **spec):
        base = base or {"kind": ["up", "down"], "x": [1, 2], "note": ["a", None]}
        inputs = {"base": tmp_path / "base"}
        pq.write_table(pa.table(base), inputs["base"])
        for source, rows in predictions.items():
            slot = f"predictions-2026112910-9-{source}"
            parts = [
                [key, MICROSECOND + at, "m", 1, "fp32", False, '"up"', json.dumps(features), None, None]
                for at, (key, features) in enumerate(rows)
            ]
            inputs[slot] = write_part(tmp_path / slot, "predictions", parts)
            slot = f"labels-2026112910-9-{source}"
            given = [[key, MICROSECOND, json.dumps(label)] for key, label in labels.get(source, {}).items()]
            inputs[slot] = write_part(tmp_path / slot, "labels", given)
        typed = RetrainingDataSpec(**{**SPEC, "features": ["x"], "min_rows": 10, **spec})
        result = run(typed, inputs=inputs, out=tmp_path / "out", report=Silent())
        return result, *(pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("retraining", "fresh"))

    return write


def answers(count, **cells):
    return [(f"p{number}", {"x": number, **cells}) for number in range(count)]


def test_labelled_rows_follow_the_former_and_the_newest_are_held_back(make):
    labels = {f"p{number}": "up" for number in range(12)}
    result, table, fresh = make({3: [*answers(12), ("unlabelled", {"x": 1})]}, {3: labels})
    assert result.summary == {"former": 2, "observed": 12, "held_back": 3, "context": 0}
    assert table.column("x").to_pylist() == [1, 2, *range(9)]
    assert table.column("kind").to_pylist() == ["up", "down", *["up"] * 9]
    assert fresh.column("x").to_pylist() == [9, 10, 11]
    assert table.column("note").null_count == 10


def test_ids_are_those_of_their_source(make):
    labels = {1: {f"p{n}": "up" for n in range(6)}, 2: {f"p{n}": "down" for n in range(6)}}
    _, table, fresh = make({1: answers(6), 2: answers(6)}, labels, mode="replace")
    kinds = table.column("kind").to_pylist() + fresh.column("kind").to_pylist()
    assert (kinds.count("up"), kinds.count("down")) == (6, 6)


def test_a_list_of_features_is_in_their_order_and_numbers_widen(make):
    rows = [(f"p{n}", [n + 0.5]) for n in range(12)] + [("short", [])]
    _, table, _ = make({1: rows}, {1: {key: "up" for key, _ in rows}})
    assert table.column("x").to_pylist()[:4] == [1.0, 2.0, 0.5, 1.5]


def test_a_forecast_learns_from_labels_alone_and_looks_back(make):
    rows = [(f"p{n}", None) for n in range(12)]
    labels = {1: {f"p{n}": float(n) for n in range(12)}}
    spec = {"task": "forecast", "features": [], "target": "x", "mode": "replace", "context": 4, "fresh_share": 0.25}
    _, table, fresh = make({1: rows}, labels, **spec)
    assert table.column("x").to_pylist() == list(range(9))
    assert fresh.column("x").to_pylist() == list(range(5, 12))


@pytest.mark.parametrize(
    ("features", "label", "changes", "code"),
    [
        ({"x": 1}, "up", {"min_rows": 13}, "too_few_rows"),
        ({"y": 1}, "up", {}, "feature_absent"),
        (None, "up", {}, "too_few_rows"),
        ({"x": "wide"}, "up", {}, "bad_cell"),
        ({"x": 1}, "up", {"target": "none"}, "unknown_column"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(make, features, label, changes, code):
    rows = [(f"p{number}", features) for number in range(12)]
    with pytest.raises(EngineError) as refusal:
        make({1: rows}, {1: {key: label for key, _ in rows}}, **changes)
    assert refusal.value.code == code
