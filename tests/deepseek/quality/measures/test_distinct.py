"""Counts of different values and of repeated rows: exact, or an estimate that says so."""

import numpy as np
import pyarrow as pa
import pytest

from deepseek.quality.measures.distinct import STANDARD_ERROR, DistinctCount, HashBudget, RepeatedRows
from deepseek.quality.measures.hashing import hash_column, hash_rows, mix


def hashes(count, times=1):
    return mix(np.tile(np.arange(count, dtype=np.uint64), times))


def test_exact_within_the_budget():
    seen = DistinctCount(HashBudget(1000))
    for _ in range(3):
        seen.add(hashes(900, 2))
    assert (seen.count(), seen.exact) == (900, True)


@pytest.mark.parametrize("count", [2_000, 50_000, 1_000_000])
def test_an_estimate_beyond_it(count):
    seen = DistinctCount(HashBudget(1000))
    for part in np.array_split(hashes(count), 7):
        seen.add(part)
    assert not seen.exact
    assert abs(seen.count() / count - 1) < 4 * STANDARD_ERROR


def test_the_budget_is_shared_and_given_back():
    budget = HashBudget(1000)
    first, second, third = DistinctCount(budget), DistinctCount(budget), DistinctCount(budget)
    first.add(hashes(600))
    second.add(hashes(500))
    assert (first.exact, second.exact, budget.left) == (True, False, 400)
    first.add(hashes(2000))
    third.add(hashes(900))
    assert (first.exact, third.exact) == (False, True)


@pytest.mark.parametrize("held", [10, 10**6])
def test_repeated_rows_in_memory_and_on_disk(tmp_path, held):
    with RepeatedRows(tmp_path, held) as repeats:
        for part in np.array_split(hashes(1000, 3), 10):
            repeats.add(part)
        assert repeats.count() == 2000
        assert bool(list(tmp_path.iterdir())) == (held == 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.decimal128(30, 2)],
)
def test_equal_values_have_equal_hashes_in_every_batch(kind):
    column = pa.array([1, 2, None, 1]).cast(pa.string() if pa.types.is_string(kind) else kind)
    found = hash_column(column)
    again = hash_column(column.slice(2, 2))
    assert found[0] == found[3] == again[1]
    assert found[2] == again[0]
    assert len({*found.tolist()}) == 3


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("ms"), pa.time32("s"), pa.duration("s")])
def test_times_too(kind):
    column = pa.array([86_400_000, 0, None], pa.int64()).cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    assert (
        len({*hash_column(column.cast(kind, safe=False) if kind.bit_width == 64 else column.view(kind)).tolist()}) == 3
    )


def test_rows_are_told_apart_by_the_order_of_their_cells():
    one, two = (hash_column(pa.array(values)) for values in ([1, 2], [2, 1]))
    assert len({*hash_rows([one, two]).tolist()}) == 2
    assert hash_column(pa.array([[1]])) is None
