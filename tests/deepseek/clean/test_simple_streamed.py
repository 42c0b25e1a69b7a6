"""The plan of a spec without steps, streamed, gives what `clean_columns` gives on the table in memory, bit for bit."""

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepseek.clean.execution import execute
from deepseek.clean.run import SimplePlan, choose_columns, clean_columns
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.job import EngineError, Silent
from deepseek.tables.batches import TableBatches
from deepseek.tables.sources import build_source

FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.5, 2.0, 900.0, -1e308, 1e308]), st.floats(-9, 9))
WHOLES = st.one_of(st.none(), st.integers(-9, 9), st.sampled_from([2**53, 2**60, -(2**61)]))
SPECS = st.fixed_dictionaries(
    {
        "window_size": st.integers(1, 9),
        "fill": st.sampled_from(["median_window", "none"]),
        "outliers": st.one_of(
            st.just({}),
            st.fixed_dictionaries(
                {
                    "method": st.sampled_from(["iqr", "robust_z"]),
                    "action": st.sampled_from(["flag", "cap", "blank"]),
                    "threshold": st.sampled_from([0.2, 1.0, 3.0]),
                }
            ),
        ),
    }
)


def outcome(work):
    try:
        return work()
    except EngineError as error:
        return error.as_dict()


ROBUST = {"window_size": 1, "fill": "none", "outliers": {"method": "robust_z", "action": "flag", "threshold": 0.2}}
QUARTILES = {"method": "iqr", "action": "cap", "threshold": 1.0}


@example([(-1e308, None, None)] * 2, ROBUST, 1, False)  # a median beyond what a number holds
@example([(x, None, None) for x in (-1e308, -1e308, 1e308, 1e308, 1.5)], ROBUST, 2, False)  # as are deviations
@example([(x, None, None) for x in (1e308, 1e308, 1e308, -1e308)], ROBUST, 2, False)  # the largest alone
@example([(0.0, 1, -0.0), (0.0, 1, -1e308)], {**ROBUST, "outliers": QUARTILES}, 1, False)  # a fence at -0.0
@given(st.lists(st.tuples(FLOATS, WHOLES, FLOATS), min_size=1, max_size=40), SPECS, st.integers(1, 9), st.booleans())
def test_streamed_as_in_memory(rows, fields, size, named):
    x, k, f = zip(*rows, strict=True)
    single = pa.array(f, pa.float64()).cast(pa.float32(), safe=False)
    table = pa.table({"x": pa.array(x, pa.float64()), "k": pa.array(k, pa.int64()), "f": single})
    spec = CleanSpec(**fields, columns=["x", "k"] if named else None)
    source = build_source(table)
    try:
        chosen, _ = choose_columns(source, spec)
    except EngineError:
        return

    def streamed():
        around = StepContext()
        done = execute([SimplePlan(spec, tuple(chosen))], TableBatches(table, size), around)
        return pa.Table.from_batches(done.batches, done.batches.schema).combine_chunks(), around.warnings

    def whole():
        cleaned, _, warnings = clean_columns(table, chosen, spec, Silent())
        return cleaned, warnings

    ours, wanted = outcome(streamed), outcome(whole)
    if isinstance(wanted, dict):
        assert isinstance(ours, dict)
        assert (ours["code"], ours["value"]) == (wanted["code"], wanted["value"])
        return
    assert ours[1] == wanted[1]
    assert ours[0].schema == wanted[0].schema
    for name in wanted[0].column_names:
        pairs = (one.column(name).combine_chunks() for one in (ours[0], wanted[0]))
        first, second = (column.fill_null(False if name.endswith("outlier") else 0) for column in pairs)
        assert first.to_numpy(zero_copy_only=False).tobytes() == second.to_numpy(zero_copy_only=False).tobytes()
        assert ours[0].column(name).is_null().equals(wanted[0].column(name).is_null())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_gap_longer_than_any_batch(size):
    table = pa.table({"x": [1.0, *[None] * 20, 3.0]})
    spec = CleanSpec(window_size=45)
    done = execute([SimplePlan(spec, ("x",))], TableBatches(table, size), StepContext())
    assert pa.Table.from_batches(done.batches).column("x").to_pylist() == [1.0, *[2.0] * 20, 3.0]
