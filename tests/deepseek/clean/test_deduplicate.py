"""deduplicate in little memory: the rows that stay are those of a look at everything at once."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.clean.execution import execute
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps import partitions, rows
from deepseek.clean.steps.base import StepContext
from deepseek.tables.batches import TableBatches
from deepseek.tables.streams import ORIGIN_COLUMN, SpilledBatches

KEYS = pa.schema([("k", pa.int64()), ("t", pa.string()), ("x", pa.float64())])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.one_of(st.none(), st.integers(0, 6)),
            "t": st.sampled_from([None, "", "a", "甲"]),
            "x": st.sampled_from([None, 0.0, -0.0, 1.5]),
        }
    ),
    min_size=1,
    max_size=60,
)


def staying(table, size, folder=None, before=(), **step):
    """The places of the rows that stay."""
    plan = CleanSpec(steps=[*before, {"kind": "deduplicate", **step}]).steps
    done = execute(plan, TableBatches(table, size), StepContext(folder=folder))
    return pa.Table.from_batches(done.batches, done.batches.schema).column(ORIGIN_COLUMN).to_pylist()


@given(
    ROWS,
    st.sampled_from([None, ["k"], ["k", "t"], ["x"]]),
    st.sampled_from(["first", "last"]),
    st.sampled_from([1, 40, 200]),
    st.sampled_from([0, 100, 10**6]),
    st.booleans(),
)
def test_bit_by_bit_as_all_at_once(drawn, columns, keep, read, keys, collide):
    """However little is read at once, however few keys may be held, and where every hash is the same."""
    table = pa.Table.from_pylist(drawn, KEYS)
    wanted = {}
    for place, row in enumerate(drawn):
        key = tuple(row[name] for name in columns or KEYS.names)
        wanted[key] = wanted.get(key, place) if keep == "first" else place
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "READ_BYTES", read)
        patch.setattr(rows, "KEYS_BYTES", keys)
        if collide:
            patch.setattr(partitions, "hash_keys", lambda batch, names: np.zeros(batch.num_rows, dtype=np.uint64))
        assert staying(table, 7, columns=columns, keep=keep) == sorted(wanted.values())


def test_of_rows_without_any_value_the_last_stays_where_asked():
    table = pa.table({"k": pa.nulls(5)})
    assert staying(table, 2, keep="last") == [4]
    assert staying(table, 2, keep="first") == [0]


def test_no_column_with_values_to_look_at_behind_a_step_that_leaves_columns_unread():
    table = pa.table({"a": [1, None, 3, 4], "x": pa.nulls(4)})
    filled = {"kind": "fill_forward", "columns": ["a"]}
    assert staying(table, 2, before=[filled], columns=["x"]) == [0]


@pytest.mark.parametrize("distinct", [1, 10**6])
def test_a_part_is_never_held_whole(tmp_path, monkeypatch, distinct):
    """A million rows of 16 bytes in one part: 2 MB of keys may be held, and what is at hand stays below 10 MB."""
    held = []

    def read(self, names, read=SpilledBatches.read):
        for batch in read(self, names):
            held.append(pa.total_allocated_bytes() - before)
            yield batch

    monkeypatch.setattr(rows, "READ_BYTES", 2**20, raising=False)
    monkeypatch.setattr(rows, "KEYS_BYTES", 2**21, raising=False)
    monkeypatch.setattr(partitions, "MAX_BYTES_IN_MEMORY", 0)
    if distinct > 1:  # the first hash tells no two apart
        mixed = partitions._mix_bits
        monkeypatch.setattr(partitions, "_mix_bits", lambda bits, level: mixed(bits, level) if level else bits * 0)
    table = pa.table({"k": np.arange(10**6) % distinct})
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(SpilledBatches, "read", read)
    assert len(staying(table, 65_536, tmp_path)) == distinct
    assert 0 < max(held) < 10 * 2**20
