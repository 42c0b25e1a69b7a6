"""Report and expectations of any table over any partitions are those of the table in one piece."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.partitions.carriers import InlineCarrier
from deepseek.partitions.sources import partition_parquet
from deepseek.quality.expectations import check_expectations, parse_expectations
from deepseek.quality.partitioned import build_partitioned_report, check_partitioned_expectations
from deepseek.quality.report import build_quality_report
from deepseek.tables.batches import TableBatches
from tests.deepseek.table_files import write_files

FLOATS = st.one_of(st.none(), st.floats(-1e3, 1e3), st.sampled_from([0.0, -0.0, 1e300, 5e-324, float("inf")]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "x": FLOATS,
            "y": FLOATS,
            "k": st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**60), 2**60)),
            "t": st.one_of(st.none(), st.sampled_from(["a", "b", "中文", ""])),
            "day": st.one_of(st.none(), st.sampled_from(["2026-01-02", "2026-03-04", "2025-12-31"])),
            "flag": st.one_of(st.none(), st.booleans()),
        }
    ),
    min_size=1,
    max_size=40,
)
SCHEMA = pa.schema(
    [("x", pa.float64()), ("y", pa.float64()), ("k", pa.int64()), ("t", pa.string()), ("day", pa.string()),
     ("flag", pa.bool_())]
)  # fmt: skip
EXPECTATIONS = parse_expectations(
    """[{"kind": "unique", "columns": ["k"]}, {"kind": "unique", "columns": ["t", "flag"], "severity": "warning"},
    {"kind": "monotonic", "column": "k"},
    {"kind": "monotonic", "column": "x", "direction": "decreasing", "strict": true},
    {"kind": "not_null", "column": "t"}, {"kind": "row_count", "minimum": 10}]"""
)


@settings(deadline=None)
@given(ROWS, st.sampled_from([2, 3, 64]), st.sampled_from([None, 8]), st.integers(1, 9), st.sampled_from([1, 2, 7]))
def test_any_table_over_any_partitions(drawn, partitions, max_values, group_rows, files):
    table = pa.Table.from_pylist(drawn, SCHEMA)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = partition_parquet(write_files(table, folder, files, group_rows), partitions)
        whole = build_quality_report(TableBatches(table, group_rows), scratch=folder, max_values=max_values)
        report = build_partitioned_report(sources, InlineCarrier(), folder, max_values=max_values)
        checks = check_partitioned_expectations(sources, InlineCarrier(), folder, EXPECTATIONS)
    expected, actual = whole.pop("correlations"), report.pop("correlations")
    assert report == whole
    assert (actual is None) == (expected is None)
    if expected is not None:
        for name in ("pearson", "spearman"):
            flat = [cell for row in expected.pop(name) for cell in row]
            assert [cell for row in actual.pop(name) for cell in row] == pytest.approx(flat, abs=1e-11)
        assert actual == expected
    assert checks == check_expectations(TableBatches(table, group_rows), EXPECTATIONS)
