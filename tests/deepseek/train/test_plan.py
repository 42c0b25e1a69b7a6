"""What is planned is what the loop and the split do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.train.plan import (
    count_total_steps,
    count_training_rows,
    count_windows,
    list_batches,
    list_learning_rates,
    plan_phases,
)
from deepseek.train.schedule import learning_rate, progressive_batch
from deepseek.train.spec import ScheduleSpec, TrainSpec
from deepseek.train.split import split_in_order, split_randomly

sizes = st.integers(1, 4096)


def schedule(first=32, last=256, **more):
    return ScheduleSpec(first_batch=first, last_batch=last, **more)


@given(epochs=st.integers(1, 300), rows=st.integers(0, 5000), ends=st.tuples(sizes, sizes))
def test_phases_say_the_batch_of_every_epoch_and_count_the_steps(epochs, rows, ends):
    first, last = sorted(ends)
    plan = schedule(first, last)
    told = [phase.batch for phase in plan_phases(plan, epochs, rows) for _ in range(phase.epochs)]
    by_epoch = [progressive_batch(epoch, epochs, first, last) for epoch in range(epochs)]
    assert told == by_epoch
    assert count_total_steps(plan, epochs, rows) == sum(math.ceil(rows / size) for size in by_epoch)


def test_a_phase_begins_where_the_last_one_ended():
    phases = plan_phases(schedule(), 8, 1000)
    assert [(p.batch, p.epoch, p.step, p.steps) for p in phases] == [
        (32, 0, 0, 64),
        (64, 2, 64, 32),
        (128, 4, 96, 16),
        (256, 6, 112, 8),
    ]
    assert list_batches(phases)[:3] == [(0, 32), (63, 32), (64, 64)]


@pytest.mark.parametrize("rows", [10, 11, 97, 1000])
@pytest.mark.parametrize("split", ["random", "ordered"])
def test_rows_to_train_on_are_those_of_the_split(rows, split):
    spec = TrainSpec(task="regression", target="y", split=split, validation_share=0.2, test_share=0.1)
    given_rows = (
        split_randomly(np.zeros(rows, np.int64), 0.2, 0.1, 0) if split == "random" else split_in_order(rows, 0.2, 0.1)
    )
    assert count_training_rows(spec, rows) == len(given_rows.training)


@pytest.mark.parametrize("rows", [30, 200])
def test_a_forecast_trains_on_windows(rows):
    spec = TrainSpec(task="forecast", target="y", lags=5, horizon=3)
    count = count_windows(rows, 5, 3)
    assert count == rows - 7
    assert count_training_rows(spec, rows) == len(split_in_order(count, 0.15, 0.15, gap=2).training)


def test_a_table_too_short_leaves_nothing_to_train_on():
    assert count_training_rows(TrainSpec(task="forecast", target="y", lags=50), 20) == 0


@given(warmup=st.integers(0, 1_000_000), steps=st.integers(0, 10**9))
def test_the_line_has_its_corners_and_few_points(warmup, steps):
    line = list_learning_rates(schedule(warmup_steps=warmup), steps)
    told = dict(line)
    assert len(line) <= 100
    assert [step for step, _ in line] == sorted(told)
    assert all(rate == learning_rate(step, warmup, 1e-4, 1e-3) for step, rate in line)
    assert steps <= warmup or {0, warmup} <= told.keys()
    if steps > 10_000 > warmup:
        assert {9_999, 10_000} <= told.keys()
