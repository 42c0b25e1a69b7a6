"""Reading a Parquet file batch by batch holds a row group, not what was read before it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.partitions.sources import partition_parquet
from deepseek.tables.sources import ParquetBatches

ROWS, GROUP_ROWS = 1_000_000, 50_000


@pytest.mark.parametrize("way", ["file", "partition"])
def test_memory_does_not_grow_with_the_file(tmp_path, way):
    path = tmp_path / "table.parquet"
    table = pa.table({"x": np.random.default_rng(5).normal(size=ROWS)})
    pq.write_table(table, path, row_group_size=GROUP_ROWS, use_dictionary=False)
    del table
    batches = ParquetBatches(path) if way == "file" else partition_parquet([path], 1)[0].open()
    before, largest, rows = pa.total_allocated_bytes(), 0, 0
    for batch in batches:
        rows += batch.num_rows
        largest = max(largest, pa.total_allocated_bytes() - before)
    assert rows == ROWS
    assert largest < path.stat().st_size / 2
