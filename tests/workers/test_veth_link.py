"""An attempt over several nodes: it reaches its peers, they reach it, and nobody else does. Needs root, ip and nft."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from tests.faults.running import PATIENCE
from workers import veth_link as module

ROOT = Path(__file__).resolve().parents[2]
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
IP, NFT = shutil.which("ip", path=PATH), shutil.which("nft", path=PATH)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (os.geteuid() == 0 and IP and NFT), reason="needs root, iproute2 and nftables: .ci/run installs both"
    ),
]

PEER, STRANGER, PORT, OTHER_PORT = "10.77.0.2", "10.77.0.3", 29400, 29401

LISTEN = """
import socket, sys, threading
def serve(server):
    while True:
        server.accept()[0].close()
for server in [socket.create_server(tuple(address)) for address in json]:
    threading.Thread(target=serve, args=(server,)).start()
print("ready", flush=True)
"""

CALL = f"""
import socket
for source, seconds in ({STRANGER!r}, 1), ({PEER!r}, 60):
    try:
        socket.create_connection(("10.77.0.1", {PORT}), timeout=seconds, source_address=(source, 0)).close()
    except OSError:
        continue
"""


class Space:
    """A network namespace that lasts as long as this object is used."""

    def __init__(self) -> None:
        # The holder ends when this process does, and not before: its input is a pipe from here.
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.holder.stdout.readline()
        self.pid = str(self.holder.pid)

    def run(self, *command: str) -> str:
        return subprocess.run(
            ["nsenter", "-t", self.pid, "-n", *command], check=True, capture_output=True, text=True
        ).stdout

    def start(self, code: str) -> subprocess.Popen[str]:
        command = ["nsenter", "-t", self.pid, "-n", sys.executable, "-I", "-c", code]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def network() -> Iterator[tuple[Space, Space]]:
    """The machine, which forwards packets, and a namespace in which the peer and a stranger have their addresses."""
    machine, others = Space(), Space()
    machine.run(IP, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", others.pid)
    for space, name, addresses in ((machine, "lan0", ["10.77.0.1"]), (others, "lan1", [PEER, STRANGER])):
        for address in addresses:
            space.run(IP, "address", "add", f"{address}/24", "dev", name)
        space.run(IP, "link", "set", name, "up")
    machine.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    yield machine, others
    for space in (machine, others):
        space.holder.kill()
        space.holder.wait()


def test_attempt_reaches_its_peers_and_they_it(network, tmp_path):
    machine, others = network
    targets = [
        [PEER, PORT],
        [PEER, OTHER_PORT],
        [STRANGER, PORT],
        ["10.77.0.1", PORT],
        [module.build_addresses(5)[0], PORT],
    ]
    listeners = [
        others.start(LISTEN.replace("json", repr(targets[:3]))),
        machine.start(LISTEN.replace("json", repr([["0.0.0.0", PORT]]))),
    ]
    for listener in listeners:
        assert listener.stdout.readline() == "ready\n"
    link = {"number": 5, "peers": [[PEER, PORT]], "ports": [PORT], "ip": IP, "nft": NFT}
    machine.run(IP, "link", "add", "plane5", "type", "bridge")  # of the attempt before, whose namespace is just going
    attempt, events, lifeline = start_shim(machine, tmp_path, link, {"targets": targets, "port": PORT})
    try:
        assert json.loads(events.readline())["text"] == "listening"
        others.start(CALL).wait(timeout=PATIENCE)
        told = json.loads(events.readline())
        assert told["summary"] == {"reached": [[PEER, PORT]], "caller": PEER}
        assert attempt.wait(timeout=PATIENCE) == 0
        assert "plane5" not in machine.run(NFT, "list", "tables")
    finally:
        events.close()
        os.close(lifeline)
        for process in (*listeners, attempt):
            process.kill()
            process.wait()


def test_link_that_cannot_be_made_ends_the_attempt(network, tmp_path):
    machine, _ = network
    link = {"number": 5, "peers": [["10.0.0.5 . 1 } accept #", PORT]], "ports": [PORT], "ip": IP, "nft": NFT}
    attempt, events, lifeline = start_shim(machine, tmp_path, link, {"targets": [], "port": PORT})
    told = json.loads(events.readline())
    assert (attempt.wait(timeout=PATIENCE), told["code"]) == (2, "sandbox_failed")
    events.close()
    os.close(lifeline)


def start_shim(machine: Space, folder: Path, link: dict, targets: dict) -> tuple[subprocess.Popen, TextIO, int]:
    """The shim of an attempt on the machine; its events, and the lifeline to close."""
    plan = {"way": "root", "user": None, "scratch": str(folder), "hide": [], "keep": [str(ROOT), *sys.path]}
    request = {
        "entry": "tests.workers.prober:meet_peers",
        "spec_class": "tests.workers.prober:Targets",
        "spec": json.dumps(targets),
        "inputs": {},
        "out": str(folder / "out"),
        "sandbox": {**plan, "memory_bytes": 2**20, "host_network": False, "link": link},
    }
    events_read, events_write = os.pipe()
    lifeline_read, lifeline_write = os.pipe()
    shim = [sys.executable, "-I", str(ROOT / "workers/shim.py"), str(events_write), str(lifeline_read), "1"]
    process = subprocess.Popen(
        ["nsenter", "-t", machine.pid, "-n", *shim],
        stdin=subprocess.PIPE,
        pass_fds=(events_write, lifeline_read),
        text=True,
    )
    for descriptor in (events_write, lifeline_read):
        os.close(descriptor)
    with process.stdin as stdin:
        stdin.write(json.dumps(request))
    return process, os.fdopen(events_read), lifeline_write
