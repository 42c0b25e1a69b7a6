"""Against the function of the source text, written down literally: the same bytes, not merely near ones."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepseek.clean import sliding_median_fill


def literal(series, window_size=5):
    filled = series.copy()
    for i in range(len(series)):
        if pd.isna(series[i]):
            start = max(0, i - window_size // 2)
            end = min(len(series), i + window_size // 2 + 1)
            window = series[start:end]
            filled[i] = np.median(window[~pd.isna(window)])
    return filled


def expected(series, window_size):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return literal(series, window_size)


DTYPES = [np.float64, np.float32, np.float16]


@st.composite
def arrays(draw):
    """Floats with many missing, ties, zeros of both signs, infinities, and values whose sum overflows or underflows."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    info = np.finfo(dtype)
    edge = [np.nan, -0.0, 0.0, np.inf, -np.inf, info.max, -info.max, info.smallest_subnormal, -info.smallest_subnormal]
    element = st.one_of(st.just(np.nan), st.sampled_from(edge), st.floats(width=dtype.itemsize * 8))
    return np.array(draw(st.lists(element, max_size=80)), dtype=dtype)


@given(arrays(), st.integers(1, 60))
@example(np.array([-0.0, np.nan]), 3)
@example(np.array([np.inf, np.nan, -np.inf]), 3)
@example(np.array([65504, np.nan, 65504], dtype=np.float16), 3)
@example(np.full(7, np.nan), 5)
def test_array_same_bytes_as_the_text(values, window):
    before = values.tobytes()
    filled = sliding_median_fill(values, window)
    assert filled.dtype == values.dtype
    assert filled.tobytes() == expected(values, window).tobytes()
    assert values.tobytes() == before


@given(arrays(), st.integers(1, 12))
def test_series_same_bytes_as_the_text(values, window):
    filled = sliding_median_fill(pd.Series(values, name="x"), window)
    wanted = expected(pd.Series(values, name="x"), window)
    assert filled.to_numpy().tobytes() == wanted.to_numpy().tobytes()
    pd.testing.assert_series_equal(filled, wanted)


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([np.nan, 1.0, 2.5, -3.0, 1e300])))
def test_nullable_float_as_the_text(values):
    series = pd.Series(values).astype("Float64")
    pd.testing.assert_series_equal(sliding_median_fill(series, 5), expected(series, 5))


def test_default_window_is_five():
    values = np.array([1.0, 100.0, np.nan, 3.0, 4.0, 1000.0])
    assert sliding_median_fill(values)[2] == 3.5


@pytest.mark.parametrize("even", [2, 4, 10])
def test_even_window_acts_as_the_next_odd_one(even):
    values = np.random.default_rng(1).normal(size=99)
    values[::3] = np.nan
    assert sliding_median_fill(values, even).tobytes() == sliding_median_fill(values, even + 1).tobytes()


def test_series_counts_by_position_and_keeps_its_index():
    index = pd.Index([9, 9, 0], name="day")
    series = pd.Series([1.0, np.nan, 3.0], index=index, name="x")
    filled = sliding_median_fill(series, 3)
    pd.testing.assert_series_equal(filled, pd.Series([1.0, 2.0, 3.0], index=index, name="x"))


@pytest.mark.parametrize("dtype", ["Int64", "Int8", "UInt16", "int64[pyarrow]"])
def test_nullable_integers_stay_while_medians_are_whole(dtype):
    series = pd.Series([1, None, 3, None, None, None, None, None], dtype=dtype)
    filled = sliding_median_fill(series, 3)
    assert filled.dtype == dtype
    assert filled.isna().tolist() == [False] * 4 + [True] * 4
    pd.testing.assert_series_equal(filled, expected(series, 3))


@pytest.mark.parametrize(("dtype", "becomes"), [("Int64", "Float64"), ("int64[pyarrow]", "double[pyarrow]")])
def test_nullable_integers_become_floats_for_a_half(dtype, becomes):
    filled = sliding_median_fill(pd.Series([1, None, 2, None], dtype=dtype), 3)
    assert filled.dtype == becomes
    assert filled.tolist() == [1.0, 1.5, 2.0, 2.0]


def test_big_integers_are_never_rounded():
    whole = sliding_median_fill(pd.Series([1, None, 3, 2**60 + 1], dtype="Int64"), 3)
    assert whole.tolist() == [1, 2, 3, 2**60 + 1]
    with pytest.raises(OverflowError, match="Int64"):
        sliding_median_fill(pd.Series([1, None, 2, 2**60 + 1], dtype="Int64"), 3)


def test_list_comes_back_as_a_list():
    assert sliding_median_fill([1, None, 4, float("nan")], 3) == [1, 2.5, 4, 4.0]
    assert sliding_median_fill([None, None], 3) == [None, None]


@pytest.mark.parametrize("values", [[1, None, 3], [None, None, None, 2.5], [True, None, False]])
def test_objects_as_the_text(values):
    array = np.array(values, dtype=object)
    pd.testing.assert_series_equal(pd.Series(sliding_median_fill(array, 3)), pd.Series(expected(array, 3)))


@pytest.mark.parametrize("values", [np.arange(4), np.array([True, False]), np.array(["a", "b"])])
def test_nothing_missing_is_a_copy(values):
    filled = sliding_median_fill(values)
    assert filled.tobytes() == values.tobytes()
    assert filled.dtype == values.dtype
    assert not np.shares_memory(filled, values)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["2024-01-01", "NaT"], dtype="M8[D]"),
        np.array([1j, np.nan]),
        np.array(["a", None], dtype=object),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(["a", None], dtype="str"),
        pd.Series([Decimal(1), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        (1.0, None),
        ["a", None],
    ],
)
def test_what_has_no_median_is_refused(values):
    with pytest.raises(TypeError, match="cannot"):
        sliding_median_fill(values)


@pytest.mark.parametrize(("window", "error"), [(0, ValueError), (-3, ValueError), (5.0, TypeError), ("5", TypeError)])
def test_window_is_a_positive_integer(window, error):
    with pytest.raises(error):
        sliding_median_fill(np.array([1.0]), window)


def test_two_dimensions_are_refused():
    with pytest.raises(ValueError, match="2 dimensions"):
        sliding_median_fill(np.zeros((2, 2)))


def test_layout_of_the_input_does_not_matter():
    values = np.array([1.0, 9.0, np.nan, 9.0, 3.0, 9.0], dtype=">f8")
    values.flags.writeable = False
    assert sliding_median_fill(values[::2], 3).tolist() == [1.0, 2.0, 3.0]
