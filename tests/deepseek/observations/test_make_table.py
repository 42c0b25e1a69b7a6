"""The table of a period, by the engine alone."""

import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError, Silent
from deepseek.observations.pack import pack_parts
from deepseek.observations.run import CELLS_PER_BATCH, CHARACTERS_PER_BATCH, iterate_tables, run
from deepseek.observations.spec import ObservationsSpec

START = datetime(2026, 11, 29, 10, tzinfo=UTC)
MICROSECOND = round(START.timestamp() * 1e6)


def write_part(path, kind, rows):
    lines = [json.dumps({"kind": kind, "rows": len(rows), "out": str(path)}), *map(json.dumps, rows)]
    return pack_parts(iter(f"{line}\n".encode() for line in lines), lambda out: pa.OSFile(out, "wb"))


@pytest.fixture
def inputs(tmp_path):
    def prediction(key, answer, features, *, at=0, shadow=False):
        return [key, MICROSECOND + at, "m", 1, "fp32", shadow, json.dumps(answer), json.dumps(features), None, None]

    paths = {
        name: tmp_path / name
        for name in ("predictions-2026112910-9", "predictions-2026112910-10", "labels-2026112910-3")
    }
    predictions = [prediction("a", 1, [1, 2]), prediction("b", 2.5, [3, None]), prediction("s", 1, [0], shadow=True)]
    write_part(paths["predictions-2026112910-9"], "predictions", predictions)
    write_part(
        paths["predictions-2026112910-10"], "predictions", [prediction("late", 3, {"x0": "t", "id": {"deep": 1}})]
    )
    write_part(paths["labels-2026112910-3"], "labels", [["b", MICROSECOND, "2"], ["late", MICROSECOND, "[1]"]])
    return paths


def make(inputs, out, **changes):
    spec = ObservationsSpec(**{"source": "s", "since": START, "until": START + timedelta(hours=1), **changes})
    result = run(spec, inputs=inputs, out=out, report=Silent())
    return result, pq.read_table(out / "observations.parquet")


def test_parts_are_joined_in_order_and_types_widen(inputs, tmp_path):
    result, table = make(inputs, tmp_path / "out")
    assert result.summary == {"rows": 3}
    assert table.column("prediction_id").to_pylist() == ["a", "b", "late"]
    assert table.column("prediction").to_pylist() == [1.0, 2.5, 3.0]
    assert table.column("label").to_pylist() == [None, "2", "[1]"]
    assert table.column("x0").to_pylist() == ["1", "3", "t"]
    assert (table.column("x1").type, table.column("id").to_pylist()[2]) == (pa.int64(), '{"deep": 1}')


def test_filters_and_features_as_json(inputs, tmp_path):
    _, table = make(inputs, tmp_path / "one", labelled_only=True, features="json")
    assert table.column("prediction_id").to_pylist() == ["b", "late"]
    assert table.column("features").to_pylist()[0] == "[3, null]"
    _, table = make(inputs, tmp_path / "two", shadow=True)
    assert table.column("prediction_id").to_pylist() == ["s"]


@pytest.mark.parametrize("features", [[k + 0.5 for k in range(600)], "x" * 60_000], ids=["wide", "long"])
def test_batches_hold_fewer_rows_the_larger_these_are(tmp_path, monkeypatch, features):
    path, sizes = tmp_path / "part", []
    text = json.dumps(features)
    rows = [[f"p{k}", MICROSECOND, "m", 1, "fp32", False, "1", text, None, None] for k in range(300)]
    write_part(path, "predictions", rows)

    def note_sizes(*rest):
        for batch in iterate_tables(*rest):
            sizes.append((batch.num_rows * batch.num_columns, batch.nbytes))
            yield batch

    monkeypatch.setattr("deepseek.observations.run.iterate_tables", note_sizes)
    _, table = make({"predictions-2026112910-1": path}, tmp_path / "out")
    assert table.column("prediction_id").to_pylist() == [row[0] for row in rows]
    assert table.column("features" if isinstance(features, str) else "x599")[-1].as_py() in (features, 599.5)
    assert len(sizes) == 2
    assert max(cells for cells, _ in sizes) <= CELLS_PER_BATCH
    assert max(size for _, size in sizes) < CHARACTERS_PER_BATCH + 2**20


def test_what_is_wrong_is_named(inputs, tmp_path):
    with pytest.raises(EngineError) as caught:
        make(inputs, tmp_path / "none", variant="int8")
    assert caught.value.code == "no_observations"
    with pytest.raises(EngineError) as caught:
        make({"table": tmp_path}, tmp_path / "none")
    assert (caught.value.code, caught.value.field) == ("bad_part", "inputs/table")
    assert not (tmp_path / "none").exists()


def test_the_same_lines_make_the_same_bytes(tmp_path):
    rows = [["a", MICROSECOND, "1"]] * 3
    for name in ("one", "two"):
        write_part(tmp_path / name, "labels", rows)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with pytest.raises(ValueError, match="1 rows are missing"):
        pack_parts(
            io.BytesIO(b'{"kind": "labels", "rows": 1, "out": "x"}\n'), lambda out: pa.OSFile(str(tmp_path / out), "wb")
        )
