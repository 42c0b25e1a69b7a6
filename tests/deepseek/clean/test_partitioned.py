"""Any plan over any partitions gives the table, the warnings, the counts and the error of the table in one piece."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.clean import order_statistics, partitioned
from deepseek.clean.execution import RUNNERS, build_step_reports, execute
from deepseek.clean.partitioned import PartitionedPlan
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.partitions.carriers import InlineCarrier, attempt
from deepseek.partitions.sources import partition_parquet
from deepseek.tables.batches import TableBatches
from deepseek.tables.streams import ORIGIN_COLUMN
from tests.deepseek.clean.test_plan_streamed import ACTION, ROWS, SCHEMA, STEP, rows_of, step
from tests.deepseek.table_files import write_files

KEY = b"0123456789abcdef"
MORE_STEPS = st.one_of(
    step("cast", columns=st.just(["t"]), to=st.just("number"), unfit=st.sampled_from(["refuse", "blank"])),
    step("convert", columns=st.just(["k"]), multiply=st.sampled_from([2.0, 0.5, 1e12]), add=st.just(0.0)),
    step("fill_median", columns=st.just(["k"]), window_size=st.integers(1, 12)),
    step("fill_linear", columns=st.just(["x", "k"]), along=st.sampled_from(["d", "k"])),
    step("fill_group", by=st.just(["t"]), columns=st.just(["k"]), statistic=st.sampled_from(["mean", "median"])),
    step("outliers", columns=st.just(["x", "k"]), method=st.sampled_from(["iqr", "z_score"]), action=st.just("flag")),
    step("outliers", columns=st.just(["k"]), method=st.sampled_from(["robust_z", "quantile"]), action=ACTION),
    step("hampel", columns=st.just(["k"]), window_size=st.just(9), action=ACTION),
    step("regularise", column=st.just("d"), every=st.sampled_from([1, 7]), unit=st.just("day"),
         aggregate=st.sampled_from(["sum", "mean", "median", "last", "max"]), insert=st.booleans()),
    step("mask", columns=st.just(["k"]), what=st.just(["phone"]), how=st.just("mask"), rest=st.just("hide")),
    step("mask", columns=st.just(["t"]), what=st.just(["name"]), how=st.just("pseudonym")),
    step("replace_text", columns=st.just(["t"]), find=st.just("a"), put=st.just("z")),
    step("rename", names=st.just([{"column": "k", "name": "key"}])),
    step("keep", columns=st.just(["d", "k", "x"])),
)  # fmt: skip


def run_whole(table, steps, folder):
    context = StepContext(folder=folder, key=KEY)
    done = execute(CleanSpec(steps=steps).steps, TableBatches(table), context)
    result = pa.Table.from_batches(done.batches, done.batches.schema)
    return result, context.warnings, build_step_reports(done.runners)


def run_parts(table, steps, folder, partitions, group_rows, files):
    paths = write_files(table, folder, files, group_rows)
    context = StepContext(folder=folder, key=KEY)
    sources = partition_parquet(paths, partitions)
    result = PartitionedPlan(CleanSpec(steps=steps).steps, sources, InlineCarrier(), context).run()
    tables = [pq.read_table(part.path).cast(drop_origin(result.schema)) for part in result.parts]
    return result, pa.concat_tables(tables), context.warnings


def drop_origin(schema):
    return pa.schema([field for field in schema if field.name != ORIGIN_COLUMN])


def list_origins(result):
    """The source row of every row; -1 for inserted ones."""
    origins = []
    for part in result.parts:
        runs = part.runs.tolist()
        ends = [run[0] for run in runs[1:]] + [part.rows] * bool(runs)
        for (row, source), end in zip(runs, ends, strict=True):
            origins += [-1] * (end - row) if source == 2**64 - 1 else range(source, source + end - row)
    return origins


def describe(error):
    return error and (error.code, error.field, error.value, str(error.message))


@settings(max_examples=6 * settings().max_examples, deadline=None)
@given(
    ROWS,
    st.lists(st.one_of(STEP, MORE_STEPS), min_size=1, max_size=4),
    st.sampled_from([1, 2, 3, 64]),
    st.integers(1, 9),
    st.sampled_from([1, 2, 7]),
    st.booleans(),
    st.sampled_from([0, 2, partitioned.MAX_STEPS_APPLIED_AGAIN]),
)
def test_any_plan_over_any_partitions(drawn, steps, partitions, group_rows, files, gather, applied_again):
    table = pa.Table.from_pylist(rows_of(drawn), SCHEMA)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_statistics, "MAX_VALUES_IN_MEMORY", 2**21 if gather else 2)
        patch.setattr(partitioned, "MAX_STEPS_APPLIED_AGAIN", applied_again)
        folder = Path(name)
        expected = attempt(lambda _: run_whole(table, steps, folder), None)
        outcome = attempt(lambda _: run_parts(table, steps, folder, partitions, group_rows, files), None)
    assert describe(outcome.error) == describe(expected.error)
    if expected.error is not None:
        return
    (whole, warnings, reports), (result, parts, part_warnings) = expected.value, outcome.value
    if ORIGIN_COLUMN in whole.column_names:
        origins = [-1 if row is None else row for row in whole.column(ORIGIN_COLUMN).to_pylist()]
        assert list_origins(result) == origins
        whole = whole.drop_columns([ORIGIN_COLUMN])
    assert parts.equals(whole)
    assert [str(warning) for warning in part_warnings] == [str(warning) for warning in warnings]
    for counts, report in zip(result.steps, reports, strict=True):
        assert {name: cells for name, cells in counts.cells.items() if cells} == report["columns"]
        assert (counts.rows_in, counts.rows_out) == (report["rows_in"], report["rows_out"])


class RecordingCarrier(InlineCarrier):
    """Records what it carries, and how many steps each task applies."""

    def __init__(self):
        super().__init__()
        self.carried = []

    def run(self, function, tasks, on_done):
        self.carried += [(function.__name__, len(task.steps)) for task in tasks]
        return super().run(function, tasks, on_done)


@pytest.mark.parametrize(("fills", "kept"), [(5, 0), (23, 4)])
def test_a_long_plan_applies_few_steps_again(tmp_path, fills, kept):
    table = pa.table({"x": [1.0, None, None, 4.0] * 6})
    steps = CleanSpec(steps=[{"kind": "fill_forward", "columns": ["x"], "limit": 1}] * fills).steps
    sources, carrier = partition_parquet(write_files(table, tmp_path, 2, 4), 2), RecordingCarrier()
    result = PartitionedPlan(steps, sources, carrier, StepContext(folder=tmp_path)).run()
    assert sum(counts.cells["x"] for counts in result.steps if counts.cells) == 12
    assert [name for name, _ in carrier.carried].count("keep_partition") == 2 * kept
    assert max(count for _, count in carrier.carried) == 5  # 1 + 2 + 3 + 4 of them were applied again


def test_every_kind_of_step_states_its_scope():
    assert {kind: runner.scope for kind, runner in RUNNERS.items() if runner.scope != "local"} == {
        "simple": "global",
        "fill_median": "global",
        "fill_forward": "prefix",
        "fill_backward": "prefix",
        "fill_linear": "global",
        "fill_group": "global",
        "outliers": "global",
        "hampel": "global",
        "convert": "global",
        "deduplicate": "global",
        "regularise": "prefix",
        "mask": "global",
    }
