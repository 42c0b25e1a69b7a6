"""Writing: one table, one sequence of bytes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.execution import write_parquet
from deepseek.tables.batches import TableBatches
from deepseek.tables.files import ROW_GROUP_ROWS, write_table

DATA = {"x": [1.5, None, 3.0] * 50_000, "t": ["a", "b", None] * 50_000}


def written(table, path):
    write_table(table, path)
    return path.read_bytes()


def test_chunks_and_metadata_do_not_matter(tmp_path):
    table = pa.table(DATA)
    parts = pa.concat_tables([table.slice(0, 7), table.slice(7, 70_000), table.slice(70_007)])
    noted = parts.replace_schema_metadata({"written": "today"})
    assert written(table, tmp_path / "a") == written(noted, tmp_path / "b")


def test_form_of_the_file(tmp_path):
    write_table(pa.table(DATA), tmp_path / "a")
    meta = pq.ParquetFile(tmp_path / "a").metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [
        ROW_GROUP_ROWS,
        150_000 - ROW_GROUP_ROWS,
    ]
    assert {meta.row_group(0).column(i).compression for i in range(2)} == {"ZSTD"}
    assert pq.read_table(tmp_path / "a").to_pydict() == DATA


@pytest.mark.parametrize("size", [1000, 131_072, 400_000])
def test_written_group_by_group_it_is_the_same_bytes(tmp_path, size):
    rng = np.random.default_rng(9)
    values = rng.normal(size=300_000)
    table = pa.table(
        {
            "x": pa.array(values, mask=values < -1),
            "k": pa.array(rng.integers(0, 9, 300_000)),
            "t": pa.array([f"text {number % 1000}" if number % 7 else None for number in range(300_000)]),
        }
    )
    write_table(table, tmp_path / "whole.parquet")
    written = write_parquet(TableBatches(table, size), tmp_path / "groups.parquet")
    assert (tmp_path / "groups.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert (written.rows, written.missing["x"], written.runs) == (300_000, int((values < -1).sum()), None)
