"""kill -9 in the middle of a fit: a worker is replaced, a server comes back from its shard's checkpoint."""

import os
import signal
import time

import pytest
import torch
from torch import nn

from deepseek.distributed import FitError, ParameterServer
from tests.deepseek.distributed.conftest import STEPS, KillOnce, build_batches, build_model, find_servers


def fit(batches, mode="sync", shared_memory=True, **options):
    ps = ParameterServer(worker_num=2, server_num=2, rpc_timeout=20, heartbeat_interval=2, shared_memory=shared_memory)
    return ps.fit(build_model, batches, loss="mse", lr=0.05, epochs=2, mode=mode, seed=0, **options)


@pytest.mark.parametrize("mode", ["sync", "async", "bounded"])
def test_killed_worker_is_replaced(tmp_path, mode):
    _, report = fit(KillOnce(tmp_path, rank=1, step=5), mode)
    assert (report.worker_restarts, report.server_restarts) == (1, 0)
    # Whether the servers drop it before its successor joins is a race of two processes.
    assert any("worker 1 was replaced" in event for event in report.events)
    assert report.losses[-1] < report.losses[0]
    if mode == "async":  # it goes on where its predecessor was; in the other modes it skips what the others are past
        assert report.steps == 2 * 2 * STEPS


@pytest.mark.parametrize("mode", ["async", "bounded"])
def test_killed_server_comes_back(tmp_path, mode):
    _, report = fit(KillOnce(tmp_path, rank=0, step=5, victim=1), mode, checkpoint_every=3)
    assert (report.worker_restarts, report.server_restarts) == (0, 1)
    assert report.losses[-1] < report.losses[0]


@pytest.mark.parametrize("server", [0, 1])
def test_worker_that_has_pushed_everything_leaves_a_server_that_came_back(tmp_path, server):
    """The last thing that a worker does before it leaves is to fetch another batch, and to find none."""

    def kill_at_end(rank, world):
        yield from build_batches(rank, world)
        if rank == 1 and not (tmp_path / "first").exists():
            (tmp_path / "first").touch()
        elif rank == 1:
            find_servers(os.getppid())[server].kill()

    assert fit(kill_at_end, "async")[1].server_restarts == 1


@pytest.mark.parametrize("server", [0, 1])
def test_sync_loses_nothing_of_a_killed_server_with_a_checkpoint_each_step(tmp_path, server):
    options = {"momentum": 0.9, "weight_decay": 0.01, "checkpoint_every": 1}
    expected, before = fit(build_batches, **options)
    batches = KillOnce(tmp_path, rank=0, step=5, victim=server)
    module, report = fit(batches, shared_memory=server == 0, **options)
    assert report.server_restarts == 1
    assert report.losses == pytest.approx(before.losses, abs=1e-6)
    for ours, theirs in zip(module.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6, rtol=0)


def test_silent_worker_is_replaced(tmp_path):
    def stop_once(rank, world):
        for step, batch in enumerate(build_batches(rank, world)):
            if (rank, step) == (1, 5) and not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            yield batch

    ps = ParameterServer(worker_num=2, server_num=1, rpc_timeout=30, heartbeat_interval=1)
    report = ps.fit(build_model, stop_once, loss="mse", lr=0.05)[1]
    assert report.worker_restarts >= 1
    assert any("no heartbeat for 3 s" in event for event in report.events)


def test_too_many_lost_processes_end_the_fit(tmp_path):
    def die(rank, world):
        os.kill(os.getpid(), signal.SIGKILL)
        yield

    with pytest.raises(FitError, match="max_restarts=1"):
        fit(die, max_restarts=1)


def test_lost_server_that_stays_away_ends_the_fit(tmp_path):
    """No answer within rpc_timeout: here of a server that is stopped."""

    def stop_server(rank, world):
        for step, batch in enumerate(build_batches(rank, world)):
            if step == 3:
                find_servers(os.getppid())[0].suspend()
            yield batch

    ps = ParameterServer(worker_num=1, server_num=1, rpc_timeout=1, heartbeat_interval=0.5)
    began = time.monotonic()
    with pytest.raises(FitError, match=r"server 0 did not answer within rpc_timeout=1 s"):
        ps.fit(lambda: nn.Linear(8, 1), stop_server, loss="mse", lr=0.01)
    assert time.monotonic() - began < 60
