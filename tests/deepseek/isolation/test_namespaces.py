"""A policy in force in one network namespace, with the plane and the outside in another. Needs root, ip and nft."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek.isolation.nftables import render_table
from tests.workers.test_veth_link import IP, NFT, Space

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (os.geteuid() == 0 and IP and NFT), reason="needs root, iproute2 and nftables: .ci/run installs both"
    ),
]
ROOT = Path(__file__).resolve().parents[3]
PLANE, PORT = "10.79.0.2", 8000
OUTSIDE = ["192.0.2.1", "169.254.169.254", PLANE]
LISTEN = """
import socket, threading
def accept(server):
    while True:
        server.accept()[0].close()
def answer(link):
    while True:
        data, sender = link.recvfrom(512)
        link.sendto(data, sender)
for family, address in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"):
    for port in 80, 443, 8000:
        server = socket.socket(family)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        server.listen()
        threading.Thread(target=accept, args=(server,)).start()
    for port in 53, 123:
        link = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        link.bind((address, port))
        threading.Thread(target=answer, args=(link,)).start()
print("ready", flush=True)
"""
FOREIGN = """
table ip site {
	chain output {
		type filter hook output priority filter; policy accept;
		ip daddr 10.79.0.9 drop
	}
}
"""


class Node:
    """The namespace of a node, with the command `deepseek isolate` in it."""

    def __init__(self, state: Path) -> None:
        self.space, self.others, self.state = Space(), Space(), state
        self.listener: subprocess.Popen[str] | None = None

    def set_up(self) -> None:
        node, others = self.space, self.others
        node.run(IP, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", others.pid)
        for space, name in (node, "lan0"), (others, "lan1"):
            space.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad")
            space.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad")
            space.run(IP, "link", "set", name, "up")
            space.run(IP, "link", "set", "lo", "up")
        node.run(IP, "address", "add", "10.79.0.1/24", "dev", "lan0")
        node.run(IP, "address", "add", "fd00:79::1/64", "dev", "lan0", "nodad")
        for address in OUTSIDE:
            others.run(IP, "address", "add", f"{address}/24", "dev", "lan1")
        for address in "fd00:79::2", "2001:db8::1":
            others.run(IP, "address", "add", f"{address}/64", "dev", "lan1", "nodad")
        node.run(IP, "route", "add", "default", "via", PLANE)
        node.run(IP, "route", "add", "default", "via", "fd00:79::2")
        self.listener = others.start(LISTEN)
        self.listener.stdout.readline()

    def close(self) -> None:
        for process in (self.listener, self.space.holder, self.others.holder):
            if process is not None:
                process.kill()
                process.wait()

    def build_command(self, *words: str) -> list[str]:
        command = ["nsenter", "-t", self.space.pid, "-n", sys.executable, "-m", "deepseek.cli", "isolate", *words]
        return [*command, "--state", str(self.state)]

    def isolate(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(self.build_command(*words), capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended

    def apply(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.isolate("apply", "--plane", f"http://{PLANE}:{PORT}", *words, code=code)

    def list_rules(self) -> str:
        return self.space.run(NFT, "-s", "list", "ruleset")

    def verify(self, code: int = 0) -> dict[str, str]:
        """What became of each attempt: who refused it, or the verdict."""
        report = json.loads(self.isolate("verify", "--json", code=code).stdout)
        return {
            f"{row['kind']} {row['protocol']}": row["rule"] or row["refused_by"] or row["verdict"]
            for row in report["results"]
        }

    def can_connect(self) -> bool:
        command = ["timeout", "3", "bash", "-c", f"</dev/tcp/{PLANE}/{PORT}"]
        return subprocess.run(["nsenter", "-t", self.space.pid, "-n", *command], capture_output=True).returncode == 0

    def cut_plane(self) -> None:
        self.others.run(IP, "address", "del", f"{PLANE}/24", "dev", "lan1")

    def wait_for_rules(self, rules: str, *, equal: bool = True) -> None:
        deadline = time.monotonic() + 120
        while (self.list_rules() == rules) is not equal and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (self.list_rules() == rules) is equal


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state")
    try:
        node.set_up()
        subprocess.run(["nsenter", "-t", node.space.pid, "-n", NFT, "-f", "-"], input=FOREIGN, text=True, check=True)
        yield node
    finally:
        node.close()


def test_every_attempt_is_refused_and_revert_puts_back_what_was_there(node):
    before = node.list_rules()
    open_machine = node.verify(code=1)
    assert set(open_machine.values()) <= {"passed", "resolver"}, open_machine
    assert "applied" in node.apply("--network", "10.79.0.0/24", "--watch", "1").stdout
    assert node.verify() == {
        "tcp tcp": "tcp",
        "udp udp": "udp",
        "icmp icmp": "icmp",
        "dns udp": "dns",
        "dns resolver": "dns",
        "ipv6 tcp": "ipv6",
        "ipv6 udp": "ipv6",
        "metadata tcp": "metadata",
    }
    rules = node.list_rules()
    assert "10.79.0.9 drop" in rules  # what was there before stays in force
    assert "armed" not in rules
    refused = node.apply("--network", "10.80.0.0/24", code=2)
    assert "would cut this machine off from the plane" in refused.stderr
    assert node.list_rules() == rules
    assert "reverted" in node.isolate("revert").stdout
    assert node.list_rules() == before
    assert "nothing to revert" in node.isolate("revert").stdout


def test_rules_go_by_themselves_when_the_plane_is_lost_and_the_command_was_killed(node):
    before = node.list_rules()
    command = node.build_command("apply", "--network", "10.79.0.0/24", "--plane", f"http://{PLANE}:{PORT}")
    apply = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    node.wait_for_rules(before, equal=False)
    os.killpg(apply.pid, signal.SIGKILL)
    apply.wait()
    node.cut_plane()
    node.wait_for_rules(before)
    outcome = wait_for_outcome(node.state)
    assert (outcome["result"], outcome["reason"]) == ("reverted", "plane_lost")


def test_the_kernel_ends_the_refusals_if_every_process_is_killed(node):
    table = render_table([], armed_seconds=12)
    subprocess.run(["nsenter", "-t", node.space.pid, "-n", NFT, "-f", "-"], input=table, text=True, check=True)
    assert not node.can_connect()
    deadline = time.monotonic() + 120
    while not node.can_connect() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert node.can_connect()


def wait_for_outcome(state: Path) -> dict[str, str]:
    path, deadline = state / "outcome.json", time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return json.loads(path.read_text())
