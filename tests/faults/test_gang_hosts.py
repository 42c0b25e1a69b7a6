"""A job over two hosts: two network namespaces with a cable between them, in each a worker of one plane."""

from __future__ import annotations

import hashlib
import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.run import run as clean
from deepseek.clean.spec import CleanSpec
from deepseek.job import Silent
from tests.faults.conftest import start_plane
from tests.faults.test_gang import (
    NODES,
    SPEC,
    SecondWorker,
    compute_weights,
    find_rank,
    get_weights,
    upload_table,
)
from tests.planes_in_namespaces import await_that
from tests.workers.gangs.test_link import TOOLS
from tests.workers.test_veth_link import IP, Space

pytestmark = pytest.mark.skipif(not all(TOOLS.values()), reason="needs iproute2 and nftables")
ADDRESSES = {"left": "10.79.0.1", "right": "10.79.0.2"}
PLAN = {
    "steps": [
        {"kind": "filter", "conditions": [{"column": "k", "op": "gt", "value": "0"}]},
        {"kind": "fill_forward", "columns": ["x"], "limit": 3},
        {"kind": "outliers", "columns": ["x"], "method": "iqr", "action": "cap"},
        {"kind": "fill_group", "columns": ["y"], "by": ["k"]},
        {"kind": "deduplicate", "columns": ["k", "x"]},
        {"kind": "join", "on": ["k"], "take": ["site"]},
    ],
    "partitions": 6,
}
ROWS = 240_000


@pytest.fixture(scope="module")
def plane(tmp_path_factory, template, services):
    """A plane without a worker of its own: the hosts bring theirs."""
    home = tmp_path_factory.mktemp("hosts") / "home"
    plane = start_plane(home, template, services, parts="web,dispatcher", HANG_SECONDS="90")
    yield plane
    plane.kill_everything()


@pytest.fixture(scope="module")
def hosts(plane):
    spaces = {name: Space() for name in ADDRESSES}
    left, right = spaces.values()
    left.run(IP, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", right.pid)
    for name, space in spaces.items():
        space.run(IP, "address", "add", f"{ADDRESSES[name]}/24", "dev", "lan0")
        for device in ("lan0", "lo"):
            space.run(IP, "link", "set", device, "up")
    yield spaces
    for space in spaces.values():
        space.holder.kill()
        space.holder.wait()


def start_worker(plane, name: str, space: Space) -> SecondWorker:
    prefix = ("nsenter", "-t", space.pid, "-n")
    return SecondWorker(plane, name, prefix=prefix, NODE_ADDRESS=ADDRESSES[name])


@pytest.fixture(scope="module")
def workers(plane, hosts):
    """The worker of each host, by its name."""
    started = {name: start_worker(plane, name, space) for name, space in hosts.items()}
    yield started
    for worker in started.values():
        worker.kill()


def test_training_over_two_hosts_outlives_a_killed_rank(plane, hosts, workers, tmp_path):
    weights = compute_weights(tmp_path)
    job = plane.submit(kind="train", spec=SPEC, inputs={"table": {"digest": upload_table(plane)}}, **NODES)
    plane.checkpointed(job)
    counters = {name: read_bytes(space) for name, space in hosts.items()}
    find_rank(plane, job, 1).kill()
    found = plane.until(job, lambda found: found["state"] == "succeeded")
    assert found["attempt"].startswith("2")
    assert any("goes on from the checkpoint of step" in line for line in plane.log(job))
    assert get_weights(found) == weights
    assert sorted(m["node"] for m in found["members"]) == ["left", "right"]
    assert all(count > 10_000 for count in counters.values()), counters  # over the cable


def read_bytes(space: Space) -> int:
    return int(space.run("sh", "-c", "grep lan0 /proc/net/dev").split(":")[1].split()[0])


def write_skewed_tables(path: Path) -> None:
    """Files `table`, where nine rows in ten have one key, and `join`, with a row for each key."""
    rng = np.random.default_rng(3)
    key = np.where(rng.random(ROWS) < 0.9, 1, rng.integers(0, 97, ROWS))
    x, y = rng.normal(size=ROWS).round(3), rng.normal(size=ROWS)
    gaps = [rng.random(ROWS) < 0.1 for _ in range(2)]
    pq.write_table(pa.table({"k": range(97), "site": [f"site {number}" for number in range(97)]}), path / "join")
    pq.write_table(pa.table({"k": key, "x": pa.array(x, mask=gaps[0]), "y": pa.array(y, mask=gaps[1])}), path / "table")


def clean_here(inputs: dict[str, Path], out: Path) -> dict[str, str]:
    """The digests of what one process makes of it."""
    result = clean(CleanSpec(**PLAN), inputs=inputs, out=out, report=Silent())
    files = {output.slot: out / output.path for output in result.outputs}
    return {slot: hashlib.sha256(path.read_bytes()).hexdigest() for slot, path in files.items()}


def upload(plane, path: Path) -> dict[str, str]:
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    answer = plane.plane.call("POST", f"/artifacts?name={path.name}", path.read_bytes(), headers=headers)
    return {"digest": answer["digest"]}


def kill_role(plane, job: int, role: str) -> None:
    """KILL a process of the job's cluster: its scheduler, or a worker."""

    def find() -> psutil.Process | None:
        for process in plane.marked(job):
            with suppress(psutil.Error):
                if Path(process.cmdline()[-1]).name.startswith(role):
                    return process
        return None

    await_that(find).kill()


def is_sharing(found: dict) -> bool:
    """Whether the job's nodes work on its partitions."""
    return found["state"] == "running" and (found["progress"] or {}).get("unit") == "parts"


def test_partitions_over_two_hosts_outlive_a_worker_a_scheduler_and_a_host(plane, hosts, workers, tmp_path):
    write_skewed_tables(tmp_path)
    inputs = {slot: tmp_path / slot for slot in ("table", "join")}
    expected = clean_here(inputs, tmp_path / "out")
    counters = {name: read_bytes(space) for name, space in hosts.items()}
    uploads = {slot: upload(plane, path) for slot, path in inputs.items()}
    job = plane.submit(kind="clean", spec=PLAN, inputs=uploads, **NODES)
    plane.until(job, is_sharing)
    kill_role(plane, job, "worker")
    await_that(lambda: any("SIGKILL): another is started" in line for line in plane.log(job)))
    kill_role(plane, job, "scheduler")
    plane.until(job, lambda found: found["attempt"].startswith("2") and is_sharing(found))
    second = next(member["node"] for member in plane.plane.get(f"/jobs/{job}")["members"] if member["rank"])
    os.killpg(workers[second].process.pid, signal.SIGKILL)
    workers[second].kill()
    workers[second] = start_worker(plane, second, hosts[second])
    ended = plane.until(job, lambda found: found["state"] == "succeeded")
    assert ended["attempt"].startswith("3")
    assert any("hands out the partitions" in line for line in plane.log(job))
    assert {output["slot"]: output["digest"] for output in ended["outputs"]} == expected
    assert sorted(m["node"] for m in ended["members"]) == ["left", "right"]
    assert all(read_bytes(space) - counters[name] > 100_000 for name, space in hosts.items())  # over the cable
