"""One column: what is done to outliers, in which order, and which type comes out."""

import numpy as np
import pyarrow as pa
import pytest

from deepseek.clean.column import clean_column, compute_allowed_range
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError
from deepseek.quality.outliers import Fences

SPIKE = [1, 2, 3, 900, None, 2, 3, 1]
BLANK, CAP, FLAG = ({"method": "iqr", "action": action} for action in ("blank", "cap", "flag"))


def clean(values, kind=None, window_size=3, **spec):
    return clean_column("c", pa.array(values, type=kind), CleanSpec(window_size=window_size, **spec))


def test_blank_comes_before_the_fill():
    cleaned = clean(SPIKE, pa.float64(), outliers=BLANK)
    assert cleaned.values.to_pylist() == [1, 2, 3, 3, 2, 2, 3, 1]
    assert (cleaned.filled, cleaned.outliers, cleaned.still_missing) == (2, 1, 0)


def test_flag_changes_no_value_and_marks_no_missing_one():
    cleaned = clean(SPIKE, pa.float64(), fill="none", outliers=FLAG)
    assert cleaned.values.to_pylist() == SPIKE
    assert cleaned.flags.to_pylist() == [False, False, False, True, False, False, False, False]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.int16()])
def test_cap_stays_inside_the_fences_and_keeps_the_type(kind):
    values = [1, 2, 3, 4, 5, 6, 900]  # quartiles 2.5 and 5.5, upper fence 10
    capped = clean(values, kind, fill="none", outliers=CAP).values
    assert capped.type == kind
    assert capped.to_pylist() == [1, 2, 3, 4, 5, 6, 10]


def test_cap_of_integers_rounds_towards_the_inside():
    capped = clean([1, 2, 3, 4, 900, -900], pa.int64(), fill="none", outliers=CAP).values.to_pylist()
    assert capped == [1, 2, 3, 4, 7, -2]  # quartiles 1.25 and 3.75: fences -2.5 and 7.5


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint32()])
def test_integers_stay_while_fills_are_whole(kind):
    cleaned = clean([1, None, 3], kind)
    assert (cleaned.values.type, cleaned.values.to_pylist()) == (kind, [1, 2, 3])


def test_integers_become_floats_for_a_half():
    cleaned = clean([1, None, 2, None, None, None], pa.int32())
    assert cleaned.values.type == pa.float64()
    assert cleaned.values.to_pylist() == [1.0, 1.5, 2.0, 2.0, None, None]
    assert (cleaned.filled, cleaned.still_missing) == (2, 2)


def test_untouched_big_integers_are_exact():
    assert clean([1, None, 3, 2**60 + 1], pa.int64()).values.to_pylist() == [1, 2, 3, 2**60 + 1]


@pytest.mark.parametrize("values", [[1, None, 2, 2**60 + 1], [2**60 + 1, None, 2**60 + 3]])
def test_integers_that_would_be_rounded_are_refused(values):
    with pytest.raises(EngineError) as caught:
        clean(values, pa.int64())
    assert (caught.value.code, caught.value.value) == ("inexact_integers", "c")


def test_note_when_no_robust_z_exists():
    cleaned = clean([1, 1, 1, 9], pa.float64(), outliers={"method": "robust_z"})
    assert cleaned.outliers == 0
    assert "no robust z-score" in cleaned.note


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64()])
def test_nothing_to_do_changes_nothing(kind):
    cleaned = clean([1, 2, 3], kind)
    assert (cleaned.values, cleaned.flags, cleaned.filled) == (pa.array([1, 2, 3], kind), None, 0)


def test_limits_rounded_to_the_type_stay_inside_the_fences():
    for lower, upper in ((0.1, 0.1 + 1e-6), (-0.1 - 1e-6, 0.3)):
        for kind in (np.float16, np.float32, np.float64):
            low, high = compute_allowed_range(Fences(lower, upper), np.dtype(kind), is_integer=False)
            assert float(low) >= lower
            assert float(high) <= upper
            assert float(np.nextafter(low, kind(-np.inf))) < lower
            assert float(np.nextafter(high, kind(np.inf))) > upper
