"""Order statistics in passes: whatever the numbers are, those that sorting finds, and never more than six passes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.quality.measures.selection import Selection, decode_sort_keys, encode_sort_keys

FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)


def selected(values, ranks, **options):
    selection = Selection(values.min(), values.max(), ranks, **options)
    passes = 0
    while not selection.done:
        for part in np.array_split(values, 3):
            selection.take(part)
        selection.end_pass()
        passes += 1
    return [selection.results[rank] for rank in ranks], passes


@given(st.lists(FLOATS, min_size=1, max_size=60), st.sampled_from([0, 3, 1000]))
def test_what_sorting_finds(numbers, kept):
    values = np.array(numbers)
    ranks = list(range(values.size))
    found, passes = selected(values, ranks, parts=2**12, max_sorted=kept)
    assert found == np.sort(values).tolist()
    assert passes <= 7


@given(st.lists(FLOATS, min_size=2, max_size=50))
def test_images_have_the_order_of_the_numbers(numbers):
    values = np.array(numbers)
    keys = encode_sort_keys(values)
    assert decode_sort_keys(keys).tolist() == values.tolist()
    assert (np.sort(values) == decode_sort_keys(np.sort(keys))).all()


@pytest.mark.parametrize("spread", [1.0, 1e300, 1e-300])
def test_a_long_column_takes_few_passes(spread):
    values = np.random.default_rng(1).normal(size=400_000) * spread
    ranks = [0, 20_000, 200_000, 399_999]
    found, passes = selected(values, ranks)
    assert found == np.sort(values)[ranks].tolist()
    assert passes <= 3


def test_ties_are_one_value():
    values = np.repeat([0.0, 5.0, 7.0], 100_000)
    assert selected(values, [0, 150_000, 299_999], max_sorted=10)[0] == [0.0, 5.0, 7.0]
