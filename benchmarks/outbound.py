"""Count what a walk through the pages and a training job send out of the machine: of the plane it has to be nothing.

    sudo .venv/bin/python -m benchmarks.outbound [COMMAND...]

The command (default: the browser test of an engineer's day, which uploads, cleans, trains and compares in Chromium)
runs in a network namespace of its own. That has a loopback and a default route over a card that leads nowhere, so an
attempt is a packet and no mere error; nftables counts every packet that is about to leave, and every query for a name.

Chromium asks for hosts of its maker, so it is counted apart: it is started with a group of its own, by which nftables
knows its sockets. Everything else (web, worker, dispatcher, jobs, the test) is the plane's. A listener at the far end
of the card reads the names that were asked; Chromium's packets bear a mark there. Needs root, nftables and util-linux.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

COMMAND = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--tier", "e2e", "tests/browser/test_engineer_day.py"]
CARD = "out0"
KINDS = {
    "tcp_syn": f'oifname "{CARD}" tcp flags & (syn | ack) == syn',
    "dns": "meta l4proto { tcp, udp } th dport 53",
    "udp": f'oifname "{CARD}" meta l4proto udp',
    "icmp": f'oifname "{CARD}" meta l4proto icmp',
    "ip_any": f'oifname "{CARD}" meta nfproto ipv4',
}
"""What is counted, each by itself: a query for a name counts as dns, udp and ip_any."""
OWNERS = ("plane", "browser")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GROUP = 64123  # of the browser; no group of the machine
MARK = 8  # DSCP class of the browser's packets
LISTEN = """
import json, socket, struct
far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
far.bind(("nowhere", 0))
print("ready", flush=True)
while True:
    packet = far.recv(65535)[14:]
    begin = 4 * (packet[0] & 15)
    if packet[9] != 17 or struct.unpack("!H", packet[begin + 2 : begin + 4])[0] != 53:
        continue
    labels, place = [], begin + 20
    while place < len(packet) and packet[place]:
        labels.append(packet[place + 1 : place + 1 + packet[place]].decode("ascii", "replace"))
        place += 1 + packet[place]
    print(json.dumps([packet[1] >> 2, ".".join(labels)]), flush=True)
"""
ATTEMPT = """
import socket
s = socket.socket(); s.settimeout(0.3); s.connect_ex(('192.0.2.1', 443))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
query = b'\\0\\1\\1\\0\\0\\1' + bytes(6) + b'\\5probe\\7invalid\\0\\0\\1\\0\\1'
u.sendto(query, ('192.0.2.1', 53))
"""


def build_table() -> str:
    """Packets of the browser's group go to a chain of their own, which counts and marks them."""
    counters = "\n".join(f"  counter {owner}_{name} {{\n  }}" for owner in OWNERS for name in KINDS)
    rules = {
        owner: "\n".join(f'    {match} counter name "{owner}_{name}"' for name, match in KINDS.items())
        for owner in OWNERS
    }
    browser = f"  chain browser {{\n{rules['browser']}\n    ip dscp set {MARK}\n  }}"
    hook = "type filter hook output priority 0; policy accept;"
    chain = f"  chain out {{\n    {hook}\n    meta skgid {GROUP} goto browser\n{rules['plane']}\n  }}"
    return f"table inet outbound {{\n{counters}\n{browser}\n{chain}\n}}\n"


def read_counters(namespace: list[str]) -> dict[str, dict[str, int]]:
    listing = run([*namespace, "nft", "-j", "list", "counters", "table", "inet", "outbound"])
    packets = {row["counter"]["name"]: row["counter"]["packets"] for row in json.loads(listing)["nftables"][1:]}
    return {owner: {name: packets[f"{owner}_{name}"] for name in KINDS} for owner in OWNERS}


def run(command: list[str], text: str = "") -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def build_group_command() -> list[str]:
    return ["setpriv", f"--regid={GROUP}", "--clear-groups"]


def wrap_browsers(folder: Path) -> None:
    """Programs of the browsers' names that start the real ones in the group."""
    for name in BROWSERS:
        if real := shutil.which(name):
            script = folder / name
            script.write_text(f'#!/bin/sh\nexec {" ".join(build_group_command())} {real} "$@"\n')
            script.chmod(0o755)


def check_counting(namespace: list[str]) -> None:
    """Raise SystemExit where an attempt of either owner is not seen as such; then all counters are zero again."""
    run([*namespace, sys.executable, "-c", ATTEMPT])
    run([*namespace, *build_group_command(), sys.executable, "-c", ATTEMPT])
    for owner, seen in read_counters(namespace).items():
        if not seen["tcp_syn"] or seen["dns"] != 1:
            raise SystemExit(f"The counters of the {owner} do not see what was sent: {seen}")
    run([*namespace, "nft", "reset", "counters", "table", "inet", "outbound"])


def set_up(namespace: list[str]) -> None:
    for words in (
        "link set lo up",
        f"link add {CARD} type veth peer name nowhere",
        f"address add 10.99.0.1/24 dev {CARD}",
        f"link set {CARD} up",
        "link set nowhere up",
        f"neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev {CARD}",
        f"route add default via 10.99.0.2 dev {CARD}",
    ):
        run([*namespace, "ip", *words.split()])
    run([*namespace, "nft", "-f", "-"], build_table())


def count_names(lines: list[str]) -> dict[str, dict[str, int]]:
    """How often each owner asked for each name; without those of the check."""
    asked = [json.loads(line) for line in lines]
    return {
        owner: dict(Counter(name for mark, name in asked if (mark == MARK) == (owner == "browser")).most_common())
        for owner in OWNERS
    }


def main(command: list[str]) -> int:
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 7200"], stdout=subprocess.PIPE)
    listener = None
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        namespace = ["nsenter", "-t", str(holder.pid), "-n"]
        set_up(namespace)
        check_counting(namespace)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as names:
            wrap_browsers(Path(folder))
            listener = subprocess.Popen([*namespace, sys.executable, "-c", LISTEN], stdout=names)
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            code = subprocess.run([*namespace, *command], env=environment, check=False).returncode
            counters = read_counters(namespace)
            listener.kill()
            listener.wait()
            names.seek(0)
            asked = count_names(names.read().splitlines()[1:])
    finally:
        for process in filter(None, (listener, holder)):
            process.kill()
            process.wait()
    print(json.dumps({"exit_code": code, "outbound_packets": counters, "names_asked": asked}, indent=1))
    return code or int(any(counters["plane"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or COMMAND))
