"""Any table, any plan, any batch size: the result is that of the steps written down row by row."""

import math
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.clean import order_statistics
from deepseek.clean.execution import execute
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.tables import streams
from deepseek.tables.batches import TableBatches
from deepseek.tables.streams import ORIGIN_COLUMN
from tests.deepseek.clean.plain_plan import day, plain

NUMBERS = st.one_of(st.none(), st.integers(-9, 9).map(float), st.floats(-1e3, 1e3).map(lambda v: round(v, 2) + 0.0))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "x": NUMBERS,
            "k": st.one_of(st.none(), st.integers(-3, 3)),
            "t": st.one_of(st.none(), st.sampled_from(["a", " A ", "b\t c", "ＡＢ", "", "中 文"])),
            "gap": st.integers(0, 40),
        }
    ),
    min_size=1,
    max_size=30,
)
ACTION = st.sampled_from(["cap", "blank"])
OPS = st.sampled_from(["gt", "le", "eq", "ne", "is_missing", "is_present"])


def step(kind, **fields):
    return st.fixed_dictionaries({"kind": st.just(kind), **fields})


STEP = st.one_of(
    step("fill_median", window_size=st.integers(1, 9)),
    step("fill_forward", limit=st.one_of(st.none(), st.integers(1, 4))),
    step("fill_backward", limit=st.one_of(st.none(), st.integers(1, 4))),
    step("fill_linear"),
    step("fill_constant", columns=st.sampled_from([["x"], ["t"]]), value=st.just("7")),
    step("fill_group", by=st.sampled_from([["k"], ["t"], ["t", "k"]]), columns=st.just(["x"])),
    step("fill_group", by=st.just(["t"]), statistic=st.just("mean"), columns=st.just(["x"])),
    step("drop_missing", columns=st.sampled_from([None, ["x"], ["x", "k"]]), when=st.sampled_from(["any", "all"])),
    step(
        "outliers",
        columns=st.just(["x"]),
        method=st.sampled_from(["iqr", "quantile", "robust_z", "z_score"]),
        action=ACTION,
    ),
    step("hampel", window_size=st.sampled_from([3, 5, 7]), action=ACTION),
    step("convert", columns=st.just(["x"]), multiply=st.sampled_from([2.0, 0.5]), add=st.sampled_from([0.0, 1.5])),
    step("deduplicate", columns=st.sampled_from([None, ["k"], ["k", "t"]]), keep=st.sampled_from(["first", "last"])),
    step(
        "filter",
        conditions=st.lists(
            st.fixed_dictionaries({"column": st.sampled_from(["x", "k"]), "op": OPS, "value": st.just("1")}),
            min_size=1,
            max_size=2,
        ),
        match=st.sampled_from(["all", "any"]),
    ),
    step("derive", name=st.just("y"), expression=st.just("x * 2 + k")),
    step("normalise_text", case=st.just("upper")),
    step("regularise", column=st.just("d"), aggregate=st.just("first")),
)
SCHEMA = pa.schema([("d", pa.timestamp("us")), ("x", pa.float64()), ("k", pa.int64()), ("t", pa.string())])


def rows_of(drawn):
    """Rows with ascending times."""
    hour, rows = 0, []
    for row in drawn:
        hour += row["gap"]
        rows.append({"d": day(hour), "x": row["x"], "k": row["k"], "t": row["t"]})
    return rows


def streamed(rows, steps, size, folder=None):
    table = pa.Table.from_pylist(rows, SCHEMA)
    plan = CleanSpec(steps=steps).steps
    done = execute(plan, TableBatches(table, size), StepContext(folder=folder))
    return pa.Table.from_batches(done.batches, done.batches.schema)


def same(ours, wanted):
    if isinstance(wanted, float) and isinstance(ours, int | float):
        return math.isclose(ours, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return ours == wanted


@settings(max_examples=15 * settings().max_examples)  # steps combine: a few plans meet few of their edges
@given(ROWS, st.lists(STEP, min_size=1, max_size=3), st.integers(1, 7))
def test_any_plan_on_any_table(drawn, steps, size):
    rows = rows_of(drawn)
    kinds = [one["kind"] for one in steps]
    try:
        wanted, origins = plain(rows, SCHEMA.names, steps)
    except (TypeError, ValueError, AttributeError):  # a step before left nothing, or times that are missing
        return
    if "regularise" in kinds and not wanted:
        return
    whole, cut = (streamed(rows, steps, many) for many in (1000, size))
    assert whole.equals(cut), "the result depends on the size of the batches"
    found = cut.to_pylist()
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        for name, value in theirs.items():
            assert same(ours[name], value), (name, ours, theirs)
    if ORIGIN_COLUMN in cut.column_names:
        assert cut.column(ORIGIN_COLUMN).to_pylist() == origins


class Noting(TableBatches):
    """A table that notes which columns are read of it."""

    def __init__(self, table, noted):
        super().__init__(table, 4)
        self.noted = noted

    def select_columns(self, names):
        return Noting(self.table.select(names), self.noted)

    def __iter__(self):
        self.noted.append(self.schema.names)
        return super().__iter__()


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([{"kind": "filter", "conditions": [{"column": "k", "op": "gt", "value": "-2"}]}], ["x", "k"]),
        ([{"kind": "fill_forward", "limit": 2}], ["x"]),
        ([{"kind": "drop_missing", "columns": ["t"]}, {"kind": "fill_forward"}], ["x", "t"]),
    ],
)
def test_a_look_ahead_leaves_other_columns_unread(steps, wanted):
    """Fences need one column, and those that say which of its rows are there; the result is the same."""
    rows = rows_of(
        [{"x": float(n % 7), "k": n % 5 - 2, "t": "ab "[n % 3].strip() or None, "gap": 1} for n in range(40)]
    )
    table, noted = pa.Table.from_pylist(rows, SCHEMA), []
    steps = [*steps, {"kind": "outliers", "columns": ["x"], "method": "iqr", "action": "cap", "threshold": 0.1}]
    done = execute(CleanSpec(steps=steps).steps, Noting(table, noted), StepContext())
    assert noted
    assert all(names == wanted for names in noted)
    assert pa.Table.from_batches(done.batches, done.batches.schema).equals(streamed(rows, steps, 4))
    assert done.runners[0].rows_in == 40


@pytest.mark.parametrize("kept", [0, 10**9])
def test_on_the_disk_as_in_memory(tmp_path: Path, monkeypatch, kept):
    """The same result where every table that is kept goes to the disk, and every quantile takes several passes."""
    rows = rows_of(
        [{"x": None if i % 7 == 0 else float(i * i % 97), "k": i % 5, "t": "ab"[i % 2], "gap": 3} for i in range(500)]
    )
    steps = [
        {"kind": "fill_median"},
        {"kind": "outliers", "method": "robust_z", "action": "cap", "threshold": 1},
        {"kind": "outliers", "method": "iqr", "action": "blank", "threshold": 0.5},
        {"kind": "fill_group", "by": ["k"]},
        {"kind": "deduplicate", "columns": ["k", "x"]},
    ]
    wanted = streamed(rows, steps, 1000)
    monkeypatch.setattr(streams.SpilledBatches.__init__, "__defaults__", (kept,))
    monkeypatch.setattr("deepseek.clean.steps.partitions.MAX_BYTES_IN_MEMORY", kept)
    monkeypatch.setattr(order_statistics, "MAX_VALUES_IN_MEMORY", 3)
    monkeypatch.setattr("deepseek.clean.steps.groups.PART_ROWS", 2)
    assert streamed(rows, steps, 16, tmp_path).equals(wanted)
    assert not list(tmp_path.iterdir())
