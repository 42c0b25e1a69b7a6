"""What a new form of a model is compared with."""

import numpy as np
import pytest

from deepseek.models.folder import find_model_inputs
from deepseek.models.source import measure_gap, read_source
from tests.deepseek.models.making import make_model


@pytest.fixture
def source(tmp_path):
    make_model(tmp_path, rows=3)
    return read_source(find_model_inputs(tmp_path), "A test")


def test_fresh_rows_are_new_and_near(source):
    fresh, rows = source.generate_rows(0), source.heldout.features
    assert fresh.shape == (256, 5)
    assert fresh.dtype == np.float32
    assert not np.isin(fresh, rows).any()
    assert np.abs(fresh.mean(axis=0) - rows.mean(axis=0)).max() < 0.5 * rows.std()
    assert np.array_equal(fresh, source.generate_rows(0))
    assert not np.array_equal(fresh, source.generate_rows(1))


def test_a_batch_of_more_rows_than_there_are(source):
    rows = source.heldout.features
    assert np.array_equal(source.take_batch(7), np.concatenate([rows, rows, rows[:1]]))
    assert np.array_equal(source.take_batch(2), rows[:2])


def test_the_gap():
    wanted = np.array([[1.0], [-4.0]], np.float32)
    assert measure_gap(wanted + np.float32(0.5), wanted) == (0.5, 0.125)
    assert measure_gap(wanted, wanted) == (0, 0)
    assert measure_gap(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)) == (0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_far(value):
    one, other = np.ones((2, 1), np.float32), np.full((2, 1), value, np.float32)
    assert measure_gap(one, other) == measure_gap(other, one) == measure_gap(other, other) == (np.inf, np.inf)
