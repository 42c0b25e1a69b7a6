"""Parts and the profiles of their features, from lines of this plane and of an older one."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.drift.profile import Profile, build_reference
from deepseek.observations.pack import pack_parts, read_features

AT = 1_780_000_000_000_000


def build_row(number, features, shadow=False):
    return [f"r{number}", AT + number, "wti", 1, "fp32", shadow, '"up"', features and json.dumps(features), None, None]


class Kept(io.BytesIO):
    def close(self):
        """Read afterwards."""


@pytest.fixture
def layout():
    random = np.random.default_rng(1)
    return build_reference(pa.table({"x": random.normal(0, 1, 500), "month": random.integers(1, 13, 500).astype(str)}))[
        0
    ]


def test_lines_of_columns_and_of_single_rows_make_one_part(layout):
    rows = [build_row(n, {"x": n / 10, "month": "3"}) for n in range(5)]
    rows += [build_row(5, None), build_row(6, {"x": 9.0}, shadow=True)]
    columns = json.dumps(list(zip(*rows[:4], strict=True)))
    header = {"kind": "predictions", "rows": 7, "out": "p", "layouts": [["wti", 1, layout.to_dict()]]}
    lines = [json.dumps(header), columns, *map(json.dumps, rows[4:])]
    file = Kept()
    done = pack_parts(iter(f"{line}\n".encode() for line in lines), lambda path: file)
    table = pq.read_table(io.BytesIO(file.getvalue()))
    assert sorted(table["id"].to_pylist()) == [f"r{n}" for n in range(7)]
    [[model, version, profile]] = done[0]["profiles"]
    assert (model, version, profile["rows"], done[0]["rows"]) == (
        "wti",
        1,
        5,
        7,
    )  # no shadow, and none without features
    assert sum(profile["features"]["x"]["counts"]) == 5


def test_features_count_the_same_however_they_are_read(layout):
    """Arrow reads what is flat and of the layout's types; one list, number or text more, and Python does."""
    plain = [{"x": n / 7, "month": "3", "other": "2026-01-01"} for n in range(50)] + [{"x": None}]
    for odd in ({"x": 1.0, "month": 3}, {"x": "broken"}, {"x": float("nan")}, {"x": 2, "nested": {"a": [1]}}, [1.5, 2]):
        whole, parts = Profile(layout), Profile(layout)
        for rows in (plain, [odd]):
            parts.update(read_features(pa.chunked_array([[json.dumps(row) for row in rows]]), layout))
        whole.update(read_features(pa.chunked_array([[json.dumps(row) for row in [*plain, odd]]]), layout))
        found, expected = whole.to_dict(), parts.to_dict()
        for document in (found, expected):
            for name in ("mean", "squares"):
                document["features"]["x"].pop(name)
        assert found == expected, odd
