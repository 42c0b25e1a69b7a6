"""A job over two hosts: two network namespaces with a cable between them, in each a worker of one plane."""

from __future__ import annotations

import pytest

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
from tests.workers.gangs.test_link import TOOLS
from tests.workers.test_veth_link import IP, Space

pytestmark = pytest.mark.skipif(not all(TOOLS.values()), reason="needs iproute2 and nftables")
ADDRESSES = {"left": "10.79.0.1", "right": "10.79.0.2"}


@pytest.fixture
def plane(tmp_path, template, services):
    """A plane whose own worker serves another queue than the hosts."""
    plane = start_plane(tmp_path / "home", template, services, NODE_QUEUES="other", HANG_SECONDS="90")
    yield plane
    plane.kill_everything()


@pytest.fixture
def hosts(plane):
    spaces = {name: Space() for name in ADDRESSES}
    left, right = spaces.values()
    left.run(IP, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", right.pid)
    for name, space in spaces.items():
        space.run(IP, "address", "add", f"{ADDRESSES[name]}/24", "dev", "lan0")
        for device in ("lan0", "lo"):
            space.run(IP, "link", "set", device, "up")
    workers = [
        SecondWorker(
            plane,
            name,
            prefix=("nsenter", "-t", space.pid, "-n"),
            NODE_QUEUES="cpu",
            NODE_ADDRESS=ADDRESSES[name],
        )
        for name, space in spaces.items()
    ]
    yield spaces
    for worker in workers:
        worker.kill()
    for space in spaces.values():
        space.holder.kill()
        space.holder.wait()


def test_training_over_two_hosts_outlives_a_killed_rank(plane, hosts, tmp_path):
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
