"""Which rows are for what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.job import EngineError
from deepseek.train.split import Parts, require_labels, require_rows, split_in_order, split_randomly

shares = st.floats(0.01, 0.4)


def every_row_once(parts, rows):
    found = np.concatenate([parts.training, parts.validation, parts.test])
    assert sorted(found.tolist()) == list(range(rows))


@given(
    classes=st.lists(st.integers(0, 5), min_size=10, max_size=200),
    validation=shares,
    test=shares,
    seed=st.integers(0, 99),
)
def test_by_chance(classes, validation, test, seed):
    classes = np.array(classes)
    parts = split_randomly(classes, validation, test, seed)
    every_row_once(parts, len(classes))
    assert set(classes[parts.training]) == set(classes)
    again = split_randomly(classes, validation, test, seed)
    assert all(
        np.array_equal(getattr(parts, name), getattr(again, name)) for name in ("training", "validation", "test")
    )


@given(counts=st.lists(st.integers(20, 200), min_size=1, max_size=5), test=shares)
def test_by_chance_gives_every_class_its_share(counts, test):
    classes = np.repeat(np.arange(len(counts)), counts)
    parts = split_randomly(classes, 0.2, test, 7)
    assert len(parts.test) == max(1, round(len(classes) * test))
    wanted = np.array(counts) * len(parts.test) / len(classes)
    assert (np.abs(np.bincount(classes[parts.test], minlength=len(counts)) - wanted) <= 1).all()


def test_by_chance_depends_on_the_seed():
    classes = np.zeros(100, np.int64)
    assert split_randomly(classes, 0.2, 0.2, 1).test.tolist() != split_randomly(classes, 0.2, 0.2, 2).test.tolist()


@given(rows=st.integers(10, 500), validation=shares, test=shares)
def test_in_order(rows, validation, test):
    parts = split_in_order(rows, validation, test)
    every_row_once(parts, rows)
    assert parts.training.max() < parts.validation.min() <= parts.validation.max() < parts.test.min()


def test_a_gap_lies_before_each_border():
    parts = split_in_order(100, 0.2, 0.2, gap=3)
    assert (parts.training[-1], parts.validation[0], parts.validation[-1], parts.test[0]) == (56, 60, 76, 80)


@pytest.mark.parametrize(("rows", "gap"), [(9, None), (20, 11), (20, 4)])
def test_too_few_rows(rows, gap):
    with pytest.raises(EngineError) as caught:
        require_rows(rows, 5, None if gap is None else split_in_order(rows, 0.2, 0.2, gap))
    assert caught.value.code == "too_few_rows"
    assert "5 more were left out" in caught.value.message


def test_a_label_only_in_the_test_part_is_named():
    classes = np.array([0, 0, 1, 1, 2, 3])
    with pytest.raises(EngineError) as caught:
        require_labels(Parts(np.arange(4), np.array([4]), np.array([5])), classes, ["a", "b", "c", "d"])
    assert caught.value.code == "label_only_in_test"
    assert caught.value.value == "'c', 'd'"
    assert "validation and test" in caught.value.message
    require_labels(Parts(np.array([0, 2, 4, 5]), np.array([1]), np.array([3])), classes, ["a", "b", "c", "d"])
