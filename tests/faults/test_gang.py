"""A job over several nodes: two workers on one machine, each with a node of its own, as far as the plane knows."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deepseek.job import Silent
from deepseek.train.run import run
from deepseek.train.spec import TrainSpec
from tests.deepseek.train.conftest import draw_flowers
from tests.faults.conftest import start_plane
from tests.faults.running import GROUP, PATIENCE, ROOT, Running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network between members needs root")
SPEC = {
    "task": "classification",
    "target": "kind",
    "strategy": "ddp",
    "hidden": [8],
    "epochs": 60,
    "patience": 0,
    "checkpoint_every": 50,
    "schedule": {"first_batch": 8, "last_batch": 8, "max_lr": 0.01, "warmup_steps": 5},
}
NODES = {"needs": {"nodes": 2}}
ONCE = pytest.mark.once_on_sqlite  # what ranks and engines do
LEASE = 10.0
END_SECONDS = 20.0  # beyond the lease, until the last process of a lost attempt is gone
HANG = 60  # seconds; more than a busy machine takes from the start of the engines to their first progress


class SecondWorker:
    """A worker of the same plane under another node's name; `prefix` puts it into another network."""

    def __init__(self, plane: Running, name: str = "second", *, prefix: tuple[str, ...] = (), **settings: str) -> None:
        command = [*prefix, sys.executable, str(ROOT / "manage.py"), "worker"]
        environment = {**plane.environment, "NODE_NAME": name, **settings}
        with (plane.home / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True, group=GROUP
            )
        self.name = name
        await_node(plane, name)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def await_node(plane: Running, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    code = f"""
import json
from apps.platform.nodes.models import Node
node = Node.objects.with_status().filter(name={name!r}, online=True).first()
print(json.dumps(bool(node) and "gang" in node.extras))
"""
    while not plane.ask(code):
        assert time.monotonic() < deadline
        time.sleep(0.3)


@pytest.fixture(scope="module")
def plane(tmp_path_factory, template, services):
    home = tmp_path_factory.mktemp("gang") / "home"
    limits = {"LEASE_SECONDS": str(LEASE), "GANG_JOIN_SECONDS": "60", "HANG_SECONDS": str(HANG)}
    plane = start_plane(home, template, services, **limits)
    await_node(plane, "faulty")
    yield plane
    plane.kill_everything()


@pytest.fixture(scope="module")
def workers(plane):
    """workers(name) -> a worker under that node's name, started where it does not run."""
    started: dict[str, SecondWorker] = {}

    def get(name: str = "second") -> SecondWorker:
        if name not in started or started[name].process.poll() is not None:
            started[name] = SecondWorker(plane, name)
        return started[name]

    yield get
    for worker in started.values():
        worker.kill()


@pytest.fixture(scope="module")
def table(plane) -> str:
    return upload_table(plane)


def upload_table(plane: Running) -> str:
    headers = {"Content-Type": "text/csv"}
    return plane.plane.call("POST", "/artifacts?name=flowers.csv", build_table(), headers=headers)["digest"]


def build_table() -> bytes:
    columns = draw_flowers()
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]).encode()


def compute_weights(folder: Path) -> str:
    """The digest of the model of as many ranks on one machine, which nobody disturbs: where they run changes no bit."""
    (folder / "flowers.csv").write_bytes(build_table())
    spec = TrainSpec(**SPEC, processes=2)
    run(spec, inputs={"table": folder / "flowers.csv"}, out=folder / "out", report=Silent())
    return hashlib.sha256((folder / "out/model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def train(plane, table):
    """train() -> a training over two nodes."""
    return lambda: plane.submit(kind="train", spec=SPEC, inputs={"table": {"digest": table}}, **NODES)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return compute_weights(tmp_path_factory.mktemp("weights"))


def get_weights(found: dict) -> str:
    return next(output["digest"] for output in found["outputs"] if output["slot"] == "model")


def find_rank(plane: Running, job: int, rank: int) -> psutil.Process:
    """The process of a rank, on whichever node it runs."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for process in plane.marked(job):
            with suppress(psutil.Error):
                if process.environ().get("RANK") == str(rank):
                    return process
        time.sleep(0.1)
    raise TimeoutError(f"rank {rank} of job {job}")


@ONCE
def test_runs_on_two_nodes(plane, workers):
    workers()
    job = plane.submit(kind="noop", spec={"log_lines": 2}, **NODES)
    found = plane.until(job, lambda found: found["state"] == "succeeded")
    first, other = (member["node"] for member in found["members"])
    assert {first, other} < {"faulty", "second", "third"}  # the last runs where another test started it
    lines = plane.log(job)
    assert [line for line in lines if "line 2" in line] in (
        ["line 2 of 2", f"[{other}] line 2 of 2"],
        [f"[{other}] line 2 of 2", "line 2 of 2"],
    )


RANKS = """
import os, pathlib, torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
if dist.get_rank() == 0:
    pathlib.Path(os.environ["OUT"], "sum.txt").write_text(f"{dist.get_world_size()} {total.item():g}")
dist.destroy_process_group()
"""


@ONCE
def test_script_runs_on_two_nodes(plane, workers, tmp_path):
    workers()
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as zipped:
        zipped.writestr("ranks.py", RANKS)
    content = (tmp_path / "code.zip").read_bytes()
    headers = {"Content-Type": "application/zip"}
    digest = plane.plane.call("POST", "/artifacts?name=code.zip", content, headers=headers)["digest"]
    spec = {"command": ["python", "ranks.py"], "processes": 2, "outputs": ["sum.txt"]}
    job = plane.submit(kind="script", spec=spec, inputs={"code": {"digest": digest}}, **NODES)
    found = plane.until(job, lambda found: found["state"] == "succeeded")
    assert len({member["node"] for member in found["members"]}) == 2
    output = next(output["digest"] for output in found["outputs"] if output["slot"] == "sum.txt")
    assert plane.plane.fetch(f"/artifacts/{output}") == b"4 10"


@pytest.mark.once_on_postgresql  # the lease of a dead node runs out, and the gang is claimed anew
def test_a_lost_member_ends_the_attempt_and_the_next_has_equal_weights(plane, workers, train, weights):
    workers()
    job = train()
    found = plane.checkpointed(job)
    # Whichever of the others takes part: another test may have started a third.
    lost = next(member["node"] for member in found["members"] if member["node"] != "faulty")
    workers(lost).kill()
    await_end_of_first_attempt(plane, job)
    # It may be running again by now: for its first seconds the plane takes the dead worker's node for a living one.
    plane.until(job, lambda found: found["state"] == "queued" or not found["attempt"].startswith("1"))
    spare = "third" if lost == "second" else "second"
    workers(spare)
    found = plane.until(job, lambda found: found["state"] == "succeeded")
    assert found["attempt"].startswith("2")
    assert sorted(m["node"] for m in found["members"]) == sorted(["faulty", spare])
    assert {m["state"] for m in found["members"]} <= {"succeeded", "ended"}
    assert any("goes on from the checkpoint of step" in line for line in plane.log(job))
    assert get_weights(found) == weights


def await_end_of_first_attempt(plane: Running, job: int) -> None:
    """Returns when no process of it is left on any node, which a lost member has to bring about within the lease."""
    deadline = time.monotonic() + LEASE + END_SECONDS
    while left := plane.marked(job, attempt=1):
        assert time.monotonic() < deadline, [process.pid for process in left]
        time.sleep(0.1)


@ONCE
def test_stacks_of_all_ranks_are_in_the_log_of_an_attempt_that_hangs(plane, workers, train, weights):
    workers("third")
    job = train()
    plane.checkpointed(job)
    first = find_rank(plane, job, 0)
    first.suspend()
    plane.until(job, lambda _: "[rank 1]" in list_ranks_with_stacks(plane, job), seconds=HANG + PATIENCE)
    first.resume()  # with the signal that waits for it
    found = plane.until(job, lambda found: found["state"] == "succeeded")
    assert found["attempt"].startswith("2")
    assert list_ranks_with_stacks(plane, job) == {"[rank 0]", "[rank 1]"}, plane.log(job)
    assert get_weights(found) == weights


def list_ranks_with_stacks(plane: Running, job: int) -> set[str]:
    """Torchrun itself may add its own, when it is ended while another node's rank still asks it for an address."""
    stacks = [line for line in plane.log(job) if "most recent call first" in line]
    return {line[:8] for line in stacks if line.startswith("[rank ")}


@ONCE
def test_parameter_servers_train_over_two_nodes(plane, workers, table):
    workers("third")
    spec = {**SPEC, "strategy": "ps", "servers": 2, "epochs": 3}
    job = plane.submit(kind="train", spec=spec, inputs={"table": {"digest": table}}, **NODES)
    found = plane.until(job, lambda found: found["state"] == "succeeded")
    assert found["attempt"].startswith("1")
    assert any("in 4 processes" in line for line in plane.log(job))
