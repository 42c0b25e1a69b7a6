"""The schedule of the source text, and the batch that grows."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepseek.train import learning_rate, progressive_batch, warmup_lr
from deepseek.train.schedule import DECAY_STEPS

rates = st.floats(1e-9, 10)


def as_printed(optimizer, step, warmup_steps, init_lr, max_lr):
    """The function of the source text, with its line ends back in place."""
    if step < warmup_steps:
        lr = init_lr + (max_lr - init_lr) * step / warmup_steps
    else:
        lr = max_lr * 0.1 ** (step // 10000)
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr


def optimizer():
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    return torch.optim.AdamW([{"params": [weights[0]]}, {"params": [weights[1]], "lr": 3.0}])


@given(step=st.integers(0, 200_000), warmup=st.integers(0, 50_000), init_lr=rates, max_lr=rates)
def test_warmup_lr_does_what_the_text_does(step, warmup, init_lr, max_lr):
    ours, theirs = optimizer(), optimizer()
    warmup_lr(ours, step, warmup, init_lr, max_lr)
    as_printed(theirs, step, warmup, init_lr, max_lr)
    assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in theirs.param_groups]
    assert ours.param_groups[0]["lr"] == learning_rate(step, warmup, init_lr, max_lr)


def test_known_points():
    points = {0: 1e-4, 50: 5.5e-4, 100: 1e-3, 9_999: 1e-3, 10_000: 1e-4, 25_000: 1e-5}
    for step, wanted in points.items():
        assert learning_rate(step, 100, 1e-4, 1e-3) == pytest.approx(wanted)


@given(warmup=st.integers(0, 1000), init_lr=st.floats(1e-6, 1e-3), more=st.floats(0, 1e-2))
def test_it_rises_to_the_highest_then_only_falls(warmup, init_lr, more):
    found = np.array([learning_rate(step, warmup, init_lr, init_lr + more) for step in range(0, 3 * DECAY_STEPS, 50)])
    top = -(-warmup // 50)
    assert (np.diff(found[: top + 1]) >= -1e-12).all()
    assert (np.diff(found[top:]) <= 0).all()
    assert found.max() <= init_lr + more + 1e-12


def test_the_batch_doubles_at_equal_distances():
    assert [progressive_batch(epoch, 8) for epoch in range(8)] == [32, 32, 64, 64, 128, 128, 256, 256]
    assert [progressive_batch(epoch, 3, 10, 35) for epoch in range(3)] == [10, 20, 35]
    assert progressive_batch(0, 1) == 32


@given(epochs=st.integers(1, 300), first=st.integers(1, 500), more=st.integers(0, 5000))
def test_the_batch_grows_from_first_to_last(epochs, first, more):
    sizes = [progressive_batch(epoch, epochs, first, first + more) for epoch in range(epochs)]
    assert sizes == sorted(sizes)
    assert sizes[0] == first
    assert all(first <= size <= first + more for size in sizes)
    if epochs >= 16:  # there are at most 13 sizes
        assert sizes[-1] == first + more
        assert all(after <= 2 * before for before, after in pairwise(sizes))
