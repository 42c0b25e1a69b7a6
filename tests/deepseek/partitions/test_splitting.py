"""A table split by rows, by time or by key: no row is lost, equal tables make equal bytes, memory is bounded."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from deepseek.cli import main
from deepseek.job import EngineError, Silent
from deepseek.partitions import splitting
from deepseek.partitions.split_spec import SplitSpec
from deepseek.partitions.splitting import run, write_parts
from deepseek.tables.batches import TableBatches
from deepseek.tables.parts import list_parts
from deepseek.tables.sources import read_whole_table

ROWS = 500
GENERATOR = np.random.default_rng(3)
TIMES = [datetime(2026, 1, 1) + timedelta(hours=int(hours)) for hours in GENERATOR.integers(-30, 100, ROWS)]
TABLE = pa.table(
    {
        "row": pa.array(range(ROWS)),
        "at": pa.array(TIMES, pa.timestamp("ms"), mask=GENERATOR.random(ROWS) < 0.05),
        "key": np.where(GENERATOR.random(ROWS) < 0.9, "skewed", GENERATOR.integers(0, 50, ROWS).astype(str)),
    }
)


def split(folder, table=TABLE, batch_rows=64, **spec):
    parts = write_parts(TableBatches(table, batch_rows), SplitSpec(**spec), folder)
    tables = [pq.read_table(folder.parent / part.name) for part in parts]
    assert [part.rows for part in parts] == [table.num_rows for table in tables]
    assert [folder.parent / part.name for part in parts] == list_parts(folder)
    assert not list(folder.parent.glob(".*"))
    return dict(zip((part.name for part in parts), tables, strict=True))


def test_by_rows_the_parts_are_the_same_table(tmp_path):
    parts = split(tmp_path / "table", rows=120)
    assert [part.num_rows for part in parts.values()] == [120, 120, 120, 120, 20]
    assert read_whole_table(tmp_path / "table").equals(TABLE.combine_chunks())


def test_by_time_each_interval_is_a_part_in_order(tmp_path):
    parts = split(tmp_path / "table", time="at", every=12, unit="hour")
    assert next(iter(parts)) == "table/2025-12-30T120000.parquet"
    assert list(parts)[-1] == "table/without-time.parquet"
    for name, part in list(parts.items())[:-1]:
        begin = datetime.strptime(name, "table/%Y-%m-%dT%H%M%S.parquet")
        assert all(begin <= at < begin + timedelta(hours=12) for at in part["at"].to_pylist())
    together = pa.concat_tables(parts.values())
    assert together.sort_by("row").equals(TABLE)
    assert all(pc.all(pc.greater(part["row"][1:], part["row"][:-1])).as_py() is not False for part in parts.values())


@pytest.mark.parametrize("buffer_bytes", [splitting.BUFFER_BYTES, 1])
def test_by_key_equal_keys_meet_and_a_skewed_one_is_one_long_part(tmp_path, monkeypatch, buffer_bytes):
    monkeypatch.setattr(splitting, "BUFFER_BYTES", buffer_bytes)
    parts = split(tmp_path / "table", key="key", parts=8)
    keys = [set(part["key"].to_pylist()) for part in parts.values()]
    assert sum(map(len, keys)) == len(set().union(*keys)) == len(set(TABLE["key"].to_pylist()))
    assert max(part.num_rows for part in parts.values()) > 0.85 * ROWS
    assert pa.concat_tables(parts.values()).sort_by("row").equals(TABLE)
    again = split(tmp_path / "again", key="key", parts=8, batch_rows=500)
    for name in parts:
        assert (tmp_path / name).read_bytes() == (tmp_path / name.replace("table", "again", 1)).read_bytes()
    assert list(again) == [name.replace("table", "again", 1) for name in parts]


@pytest.mark.parametrize(
    ("spec", "code", "field"),
    [
        ({"key": "kay"}, "unknown_column", "/key"),
        ({"time": "key"}, "column_not_time", "/time"),
        ({"rows": 1}, "too_many_parts", "/rows"),
        ({"time": "at", "unit": "hour"}, "too_many_parts", "/every"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path, monkeypatch, spec, code, field):
    monkeypatch.setattr(splitting, "MAX_PARTS", 20)
    pq.write_table(TABLE, tmp_path / "table.parquet")
    with pytest.raises(EngineError) as caught:
        run(SplitSpec(**spec), inputs={"table": tmp_path / "table.parquet"}, out=tmp_path / "out", report=Silent())
    assert (caught.value.code, caught.value.field) == (code, field)
    assert not (tmp_path / "out").exists()


def test_exactly_one_way_is_given():
    for values in ({}, {"rows": 5, "key": "a"}):
        with pytest.raises(ValidationError, match="give one of rows, time and key"):
            SplitSpec(**values)


def test_from_the_command_line(tmp_path, capsys):
    (tmp_path / "day.csv").write_text("day,x\n2026-01-02,1\n2026-01-01,2\n2026-01-02,3\n")
    assert main(["partition", str(tmp_path / "day.csv"), "--time", "day", "-o", str(tmp_path / "out")]) == 0
    names = [path.name for path in list_parts(tmp_path / "out" / "table")]
    assert names == ["2026-01-01.parquet", "2026-01-02.parquet"]
    assert "parts: 2" in capsys.readouterr().out
