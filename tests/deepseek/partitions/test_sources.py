"""Ranges of rows of Parquet files: every row once, parts of one schema, and files that are not what they say."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError
from deepseek.partitions.sources import partition_parquet

TABLE = pa.table({"x": list(range(23)), "t": [f"row {row}" for row in range(23)]})


def write(path, table=TABLE, rows=5):
    pq.write_table(table, path, row_group_size=rows)
    return path


def read(source, names=None):
    batches = source.open() if names is None else source.open().select_columns(names)
    return pa.Table.from_batches(batches, batches.schema)


@pytest.mark.parametrize("partitions", [1, 2, 5, 7, 23, 64])
def test_every_row_is_in_one_partition(tmp_path, partitions):
    files = [
        write(tmp_path / "a.parquet"),
        write(tmp_path / "b.parquet", TABLE.slice(0, 0)),
        write(tmp_path / "c.parquet"),
    ]
    sources = partition_parquet(files, partitions)
    assert len(sources) >= partitions
    assert pa.concat_tables([read(source) for source in sources]).equals(pa.concat_tables([TABLE, TABLE]))
    assert pa.concat_tables([read(source, ["t"]) for source in sources]).num_columns == 1
    starts = [source.first_row for source in sources]
    assert starts == [sum(source.rows for source in sources[:place]) for place in range(len(sources))]


def test_a_part_with_another_schema_is_named(tmp_path):
    other = pa.table({"x": ["a"], "t": ["b"]})
    files = [write(tmp_path / "a.parquet"), write(tmp_path / "b.parquet", other)]
    with pytest.raises(EngineError) as caught:
        partition_parquet(files, 2, names=["day-1", "day-2"])
    assert (caught.value.code, caught.value.value) == ("partition_schema_differs", "day-2")
    assert str(caught.value.message) == "The part day-2 has the column 'x' as string, the first part as int64."
    renamed = [files[0], write(tmp_path / "c.parquet", TABLE.rename_columns(["x", "u"]))]
    with pytest.raises(EngineError, match="'t' as missing, the first part as string"):
        partition_parquet(renamed, 2)
    moved = [files[0], write(tmp_path / "d.parquet", TABLE.select(["t", "x"]))]
    with pytest.raises(EngineError, match=r"part d\.parquet"):
        partition_parquet(moved, 2)


def test_a_cut_file_is_refused(tmp_path):
    path = write(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EngineError) as caught:
        partition_parquet([path], 2)
    assert caught.value.field == "inputs/table"
