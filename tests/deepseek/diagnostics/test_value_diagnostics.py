"""Predictions beside targets, and their residuals."""

import numpy as np
import pytest

from deepseek.diagnostics.build import build_value_diagnostics
from deepseek.diagnostics.document import MAX_SCATTER_POINTS


def diagnose(predicted, actual, seed=0):
    outputs = np.asarray(predicted, np.float32)[:, None]
    return build_value_diagnostics("regression", outputs, np.asarray(actual, np.float32), "price", seed)


def test_few_rows_are_all_there():
    made = diagnose([1.5, 2, 4], [1, 2, 3])
    assert (made.scatter.rows, made.scatter.actual, made.scatter.predicted) == ([0, 1, 2], [1, 2, 3], [1.5, 2, 4])
    assert made.residuals.mean == 0.5
    assert sum(made.residuals.counts) == 3
    assert (made.residuals.edges[0], made.residuals.edges[-1]) == (0, 1)


def test_many_rows_are_drawn_by_the_seed():
    values = np.arange(5000.0)
    one, same, other = (diagnose(values, values + 1, seed) for seed in (1, 1, 2))
    assert one == same
    assert one.scatter.rows != other.scatter.rows
    assert (len(one.scatter.rows), one.scatter.of) == (MAX_SCATTER_POINTS, 5000)
    assert one.scatter.rows == sorted(one.scatter.rows)


@pytest.mark.parametrize("error", [0.0, 2.5])
def test_equal_residuals_have_a_bin(error):
    made = diagnose(np.arange(50) + error, np.arange(50))
    assert (made.residuals.deviation, sum(made.residuals.counts)) == (0, 50)
