"""A fit inside a gang: real ranks with torchrun's variables, of which some are killed and started again."""

import json
import multiprocessing
import os
import signal
import time

import pytest
import torch

from deepseek.distributed import ParameterServer
from deepseek.distributed import gang as gang_module
from tests.deepseek.distributed.conftest import STEPS, KillOnce, build_batches, build_model
from tests.ports import find_free_port

WORKERS, SERVERS, EPOCHS = 2, 2, 2


def run_rank(rank, port, batches, options, pipe):
    torch.set_num_threads(1)
    torch.manual_seed(rank)  # rank 0's first weights count
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(WORKERS + SERVERS),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    epochs = []
    ps = ParameterServer(worker_num=WORKERS, server_num=SERVERS, rpc_timeout=20, heartbeat_interval=2, **options)
    module, report = ps.fit(
        build_model,
        batches,
        loss="mse",
        lr=0.05,
        epochs=EPOCHS,
        momentum=0.9,
        checkpoint_every=1,
        on_epoch=lambda epoch, loss: epochs.append(epoch),
    )
    values = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()]).tolist()
    pipe.send_bytes(json.dumps({"report": report.as_dict(), "values": values, "epochs": epochs}).encode())
    pipe.close()
    os._exit(0)


class Gang:
    """Starts ranks, as a launcher would; `restart` those that were killed."""

    def __init__(self, batches, **options):
        self.context = multiprocessing.get_context("fork")
        self.port = find_free_port()
        self.batches, self.options, self.ranks, self.pipes = batches, options, {}, {}
        for rank in range(WORKERS + SERVERS):
            self.start(rank)

    def start(self, rank):
        self.pipes[rank], theirs = self.context.Pipe()
        arguments = (rank, self.port, self.batches, self.options, theirs)
        self.ranks[rank] = self.context.Process(target=run_rank, args=arguments)
        self.ranks[rank].start()
        theirs.close()

    def restart(self, rank):
        """Wait until the rank has been killed, and start another."""
        self.ranks[rank].join(240)
        assert self.ranks[rank].exitcode == -signal.SIGKILL
        self.start(rank)

    def collect(self):
        """What each rank returned."""
        return [json.loads(pipe.recv_bytes()) for _, pipe in sorted(self.pipes.items()) if pipe.poll(240)]

    def end(self):
        for process in self.ranks.values():
            process.kill()
            process.join()


@pytest.fixture
def start():
    gangs = []

    def start(batches, **options):
        gangs.append(Gang(batches, **options))
        return gangs[-1]

    yield start
    for gang in gangs:
        gang.end()


def test_every_worker_returns_the_module(start):
    results = start(build_batches, tls=True).collect()
    assert len(results) == WORKERS + SERVERS
    assert results[0]["values"] == results[1]["values"]
    assert [result["epochs"] for result in results] == [[0, 1], [], [], []]
    for result in results:
        report = result["report"]
        assert (report["steps"], len(report["losses"]), report["tls"]) == (EPOCHS * STEPS, EPOCHS, True)
        assert report["losses"][1] < report["losses"][0]


def test_ranks_on_several_hosts_encrypt(start, monkeypatch):
    monkeypatch.setattr(gang_module, "_describe_host", lambda: os.environ["RANK"])
    results = start(build_batches).collect()
    assert [result["report"]["tls"] for result in results] == [True] * (WORKERS + SERVERS)
    assert results[0]["values"] == results[1]["values"]


def test_rank_that_is_started_again_joins(start, tmp_path):
    kill_once = KillOnce(tmp_path, rank=1, step=5)

    def build_waiting_batches(rank, world):
        """Rank 0 does not finish before the other rank 1 has begun."""
        for step, batch in enumerate(kill_once(rank, world)):
            if rank == 1 and kill_once.mark.exists():
                (tmp_path / "joined").touch()
            until = time.monotonic() + 30
            while rank == 0 and step == 8 and not (tmp_path / "joined").exists() and time.monotonic() < until:
                time.sleep(0.01)
            yield batch

    ranks = start(build_waiting_batches)
    ranks.restart(1)
    results = ranks.collect()
    assert results[0]["values"] == results[1]["values"]
    assert "worker 1 was replaced" in " ".join(results[0]["report"]["events"])


class KillServer(KillOnce):
    """Kills the rank whose number is `victim`, by its environment."""

    def __call__(self, rank, world):
        import psutil

        for step, batch in enumerate(build_batches(rank, world)):
            if (rank, step) == (self.rank, self.step) and not self.mark.exists():
                self.mark.touch()
                ranks = sorted(psutil.Process(os.getppid()).children(), key=lambda process: process.create_time())
                ranks[self.victim - WORKERS - SERVERS].kill()
            yield batch


def test_server_that_is_started_again_goes_on_from_its_checkpoint(start, tmp_path):
    expected = start(build_batches).collect()
    ranks = start(KillServer(tmp_path, rank=0, step=5, victim=3))
    ranks.restart(3)
    results = ranks.collect()
    assert results[0]["values"] == pytest.approx(expected[0]["values"], abs=1e-6)
    assert results[0]["report"]["losses"] == pytest.approx(expected[0]["report"]["losses"], abs=1e-6)
