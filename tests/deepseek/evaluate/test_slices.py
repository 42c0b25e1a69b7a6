from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from deepseek.evaluate.slices import make_names_unique, split_into_slices
from deepseek.evaluate.spec import Slice
from deepseek.job import EngineError


def parts(values, **asked):
    return list(split_into_slices(pa.table({"c": values}), Slice(column="c", **asked), "/slices/0/column"))


def counted(values, **asked):
    return {part.value: int(part.rows.sum()) for part in parts(values, **asked)}


def test_values_of_text_the_fullest_first():
    assert list(counted(["b", "a", "b", None, "c", "b", "a"]).items()) == [("b", 3), ("a", 2), ("c", 1), ("missing", 1)]


def test_rare_values_share_a_slice():
    found = counted([f"v{k:02d}" for k in range(30)] + ["v00"] * 5)
    assert (len(found), found["v00"], found["other values"]) == (11, 6, 20)


def test_many_numbers_fall_into_four_bins_of_equal_rows():
    found = parts(np.arange(100.0))
    assert [int(part.rows.sum()) for part in found] == [25, 25, 25, 25]
    assert found[0].value == "from 0 to 24.75"
    assert found[3].value == "above 74.25 to 99"


def test_bins_hold_every_row_once_however_skewed():
    values = np.r_[np.zeros(70), np.arange(1.0, 31.0)]
    found = parts(values, bins=5)
    assert (np.sum([part.rows for part in found], axis=0) == 1).all()


def test_few_numbers_are_values_unless_bins_are_asked_for():
    assert counted([1, 2, 2, 3]) == {"2": 2, "1": 1, "3": 1}
    assert len(counted([1, 2, 2, 3], bins=2)) == 2
    assert counted([True, False, True]) == {"true": 2, "false": 1}


def test_dates_fall_into_bins_and_gaps_are_told():
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(20)]
    found = counted([*days, None], bins=2)
    assert found == {
        "from 2024-01-01 to 2024-01-10": 10,
        "above 2024-01-10 to 2024-01-20": 10,
        "missing": 1,
    }
    hours = [datetime(2024, 1, 1, hour) for hour in range(20)]
    assert "from 2024-01-01T00:00:00 to 2024-01-01T09:00:00" in counted(hours, bins=2)


def test_one_and_the_same_number_is_one_bin():
    assert counted([5.0] * 4, bins=3) == {"5": 4}


def test_an_unknown_column_is_named():
    with pytest.raises(EngineError) as caught:
        list(split_into_slices(pa.table({"c": [1]}), Slice(column="d"), "/slices/2/column"))
    assert (caught.value.code, caught.value.field) == ("unknown_column", "/slices/2/column")


def test_no_two_slices_have_one_name():
    told = make_names_unique(parts(["missing", None, "missing", "missing (2)", "other"]))
    assert {part.value: int(part.rows.sum()) for part in told} == {
        "missing": 2,
        "missing (2)": 1,
        "other": 1,
        "missing (3)": 1,
    }
    twice = parts([*range(40)], bins=2) + parts([*range(40)], bins=2) + parts([None, *range(39)], bins=2)
    assert len({part.value for part in make_names_unique(twice)}) == len(make_names_unique(twice)) == 5
