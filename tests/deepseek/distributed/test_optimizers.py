"""The servers' optimizers give the numbers of torch's own, and go on from their checkpoint."""

import pytest
import torch

from deepseek.distributed.optimizers import ShardOptimizer
from deepseek.distributed.options import FitOptions

CASES = {
    "sgd": ({}, torch.optim.SGD),
    "sgd with momentum and decay": ({"momentum": 0.9, "weight_decay": 0.1}, torch.optim.SGD),
    "adam": ({"weight_decay": 0.1}, torch.optim.Adam),
    "adamw": ({"weight_decay": 0.1}, torch.optim.AdamW),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_torch(name):
    extra, kind = CASES[name]
    settings = {"mode": "sync", "staleness": 0, "checkpoint_every": 1, "max_restarts": 0, "threads": 1, "base_seed": 0}
    options = FitOptions(
        optimizer=name.split()[0], lr=0.05, epochs=1, **settings, **{"momentum": 0.0, "weight_decay": 0.0, **extra}
    )
    ours = torch.randn(50, generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.Parameter(ours.clone())
    reference = kind([theirs], lr=0.05, **extra)
    optimizer = ShardOptimizer(ours, options)
    for step in range(6):
        gradient = torch.randn(50, generator=torch.Generator().manual_seed(step + 1))
        theirs.grad = gradient.clone()
        reference.step()
        optimizer.step(gradient, 0.05)
        state = {key: tensor.clone() for key, tensor in optimizer.dump_state().items()}
        optimizer = ShardOptimizer(ours, options)
        optimizer.load_state(state)
    assert torch.allclose(ours, theirs, atol=1e-6, rtol=1e-5)
