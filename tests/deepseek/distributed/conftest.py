"""A small regression that every test of a fit trains on."""

import os
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

STEPS = 12
WIDTH = 8


def build_model():
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, 1))


def build_batches(rank, world):
    generator = torch.Generator().manual_seed(rank)
    weights = torch.arange(WIDTH, dtype=torch.float32) / WIDTH
    for _ in range(STEPS):
        inputs = torch.randn(16, WIDTH, generator=generator)
        yield inputs, (inputs @ weights)[:, None]


def find_servers(parent):
    """The server processes of a fit in the process `parent`: its children that listen, in the order of their start."""
    children = sorted(psutil.Process(parent).children(), key=lambda process: process.pid)
    return [child for child in children if any(c.status == "LISTEN" for c in child.net_connections("tcp"))]


class KillOnce:
    """Batches whose worker `rank` kills a process (None: itself) with SIGKILL before the batch `step`, one time."""

    def __init__(self, folder: Path, rank: int, step: int, victim: int | None = None):
        self.mark, self.rank, self.step, self.victim = folder / "killed", rank, step, victim

    def __call__(self, rank, world):
        for step, batch in enumerate(build_batches(rank, world)):
            if (rank, step) == (self.rank, self.step) and not self.mark.exists():
                self.mark.touch()
                (psutil.Process() if self.victim is None else find_servers(os.getppid())[self.victim]).kill()
            yield batch


@pytest.fixture(autouse=True)
def _keep_torch_state():
    """Leave torch's generator and the environment of a gang as they were."""
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            patch.delenv(name, raising=False)
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def _leave_no_process():
    """Every process of a fit ends with it."""
    before = {process.pid for process in psutil.Process().children()}
    yield
    started = [child for child in psutil.Process().children() if child.pid not in before]
    # Python itself keeps one process for those that it spawns.
    assert [child for child in started if not any("resource_tracker" in word for word in child.cmdline())] == []
