"""Members of a job reach each other on any port, over one machine or two, and nobody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.workers.test_veth_link import IP, NFT, PATH, Space
from workers.gangs import link as module

BRIDGE = shutil.which("bridge", path=PATH)
TOOLS = {"ip": IP, "bridge": BRIDGE, "nft": NFT}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("browser"),  # links are not made beside it
    pytest.mark.skipif(
        not (os.geteuid() == 0 and all(TOOLS.values())),
        reason="needs root, iproute2 and nftables: .ci/run installs both",
    ),
]
SIZE = 300_000
SERVE = f"""
import socket
server = socket.create_server(("0.0.0.0", 0))
print(server.getsockname()[1], flush=True)
peer, address = server.accept()
got = 0
while got < {SIZE}:
    got += len(peer.recv(65536))
print(address[0], got, flush=True)
"""
CALL = f"""
import socket, sys
socket.create_connection(("{module.build_address(0)}", int(sys.argv[1])), timeout=20).sendall(b"x" * {SIZE})
"""


def join(machine: Space, engine: Space, link: dict) -> None:
    """What shim and sandbox do: the link from the machine's namespace, its end from the engine's."""
    for space, call in ((machine, f"make_link(link, {engine.pid})"), (engine, "configure_link(link)")):
        code = f"import json; from workers.gangs.link import *; link = json.loads({json.dumps(link)!r}); {call}"
        space.run(sys.executable, "-c", code)


@pytest.fixture
def spaces():
    made = [Space() for _ in range(4)]
    yield made
    for space in made:
        space.holder.kill()
        space.holder.wait()


def build_link(rank: int, address: str, port: int, peers: list) -> dict:
    return {"type": "gang", "number": 900 + rank, "network": 7, "rank": rank, "address": address, "port": port} | {
        "peers": peers,
        **TOOLS,
    }


@pytest.mark.parametrize("hosts", [1, 2])
def test_members_reach_each_other_on_any_port(spaces, hosts):
    one, two, first, second = spaces
    addresses = ["127.0.0.1", "127.0.0.1"]
    if hosts == 2:
        addresses = ["10.78.0.1", "10.78.0.2"]
        one.run(IP, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", two.pid)
        for space, name, address in ((one, "lan0", addresses[0]), (two, "lan1", addresses[1])):
            space.run(IP, "address", "add", f"{address}/24", "dev", name)
            space.run(IP, "link", "set", name, "up")
    else:
        two = one
    for space in {one, two}:
        space.run(IP, "link", "set", "lo", "up")
    ports = [29_300, 29_301]
    join(one, first, build_link(0, addresses[0], ports[0], [[1, addresses[1], ports[1]]]))
    join(two, second, build_link(1, addresses[1], ports[1], [[0, addresses[0], ports[0]]]))
    server = first.start(SERVE)
    port = server.stdout.readline().strip()
    second.run(sys.executable, "-c", CALL, port)
    assert server.stdout.readline().split() == [module.build_address(1), str(SIZE)]
    with pytest.raises(subprocess.CalledProcessError):  # no way to the machine
        first.run(IP, "route", "get", "10.78.0.1")


def test_a_worker_killed_in_its_trial_keeps_no_other_from_links_and_its_own_goes(spaces):
    code = f"""
import socket
from workers.gangs import link

def list_trials():
    return [name for _, name in socket.if_nameindex() if name.startswith(link.TRIAL)]

run = link.run
link.run = lambda command: "delete" in command or run(command)
print([link.is_available({TOOLS!r}) for _ in range(3)], len(list_trials()))
link.run = run
with link.claim_trial("gangt000001"):  # another worker's, which lives
    run([{IP!r}, "link", "add", "gangt000001", *link.build_vxlan(1, link.FIRST_PORT - 1, "127.0.0.1")])
    print(link.is_available({TOOLS!r}), list_trials())
print(link.is_available({TOOLS!r}), list_trials())
"""
    assert spaces[0].run(sys.executable, "-c", code).splitlines() == [
        "[True, True, True] 3",
        "True ['gangt000001']",
        "True []",
    ]


def test_a_link_that_a_killed_shim_left_is_replaced(spaces):
    machine, engine = spaces[:2]
    link = build_link(0, "10.78.0.1", 29_300, [[1, "10.78.0.2", 29_301]])
    machine.run(IP, "link", "add", "gang900", *module.build_vxlan(link["network"], link["port"], "127.0.0.1"))
    join(machine, engine, link)
    assert "eth0" in engine.run(IP, "-br", "link")


@pytest.mark.parametrize("field", ["address", "peers"])
def test_what_is_no_address_becomes_no_rule(field):
    link = build_link(0, "10.78.0.1", 29_300, [[1, "10.78.0.2", 29_301]])
    link[field] = "10.0.0.5 } accept #" if field == "address" else [[1, "10.0.0.5 } accept #", 1]]
    with pytest.raises(ValueError, match=r"10\.0\.0\.5"):
        module.build_rules(link) if field == "peers" else module.make_link(link, 1)
