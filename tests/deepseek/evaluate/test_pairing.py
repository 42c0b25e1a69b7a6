"""Which evaluations are compared row by row."""

import numpy as np

from deepseek.evaluate.bootstrap import compute_pairing

ROWS = np.arange(5)
SEEDED = {"seed": 1, "replicates": 200}


def test_a_forecast_of_another_horizon_has_another_task():
    horizons = {compute_pairing(ROWS, ROWS / 2, [], ROWS, **SEEDED, horizon=ahead) for ahead in (1, 2, 3)}
    assert len(horizons) == 3


def test_one_row_ahead_is_as_it_is_without_a_horizon():
    assert compute_pairing(ROWS, ROWS / 2, [], ROWS, **SEEDED, horizon=1) == compute_pairing(
        ROWS, ROWS / 2, [], ROWS, **SEEDED
    )


def test_other_rows_targets_or_draws_are_others():
    one = compute_pairing(ROWS, ROWS / 2, [], ROWS, **SEEDED)
    assert compute_pairing(ROWS + 1, ROWS / 2, [], ROWS, **SEEDED) != one
    assert compute_pairing(ROWS, ROWS / 3, [], ROWS, **SEEDED) != one
    assert compute_pairing(ROWS, ROWS / 2, [], ROWS, seed=2, replicates=200) != one
