"""Count what a walk through the pages and a training job send out of the machine: it has to be nothing.

    sudo .venv/bin/python -m benchmarks.outbound [COMMAND...]

The command (default: the browser test of an engineer's day, which uploads, cleans, trains and compares in Chromium)
runs in a network namespace of its own. That has a loopback and a default route over a card that leads nowhere, so an
attempt is a packet and no mere error; nftables counts every packet that is about to leave. Needs root and nftables.
"""

from __future__ import annotations

import json
import subprocess
import sys

COMMAND = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--tier", "e2e", "tests/browser/test_engineer_day.py"]
KINDS = {
    "tcp_syn": "tcp flags & (syn | ack) == syn",
    "dns": "meta l4proto { tcp, udp } th dport 53",
    "udp": "meta l4proto udp",
    "icmp": "meta l4proto icmp",
    "ip_any": "meta nfproto ipv4",
}
"""What is counted, each by itself: a query for a name counts as dns, udp and ip_any."""
CARD = "out0"


def build_table() -> str:
    counters = "\n".join(f"  counter out_{name} {{\n  }}" for name in KINDS)
    rules = "\n".join(f'    oifname "{CARD}" {match} counter name "out_{name}"' for name, match in KINDS.items())
    chain = f"  chain out {{\n    type filter hook output priority 0; policy accept;\n{rules}\n  }}"
    return f"table inet outbound {{\n{counters}\n{chain}\n}}\n"


def read_counters(namespace: list[str]) -> dict[str, int]:
    listing = run([*namespace, "nft", "-j", "list", "counters", "table", "inet", "outbound"])
    rows = (row.get("counter") for row in json.loads(listing)["nftables"])
    return {row["name"].removeprefix("out_"): row["packets"] for row in rows if row}


def run(command: list[str], text: str = "") -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main(command: list[str]) -> int:
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 7200"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        namespace = ["nsenter", "-t", str(holder.pid), "-n"]
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
        probe = "import socket; s = socket.socket(); s.settimeout(0.3); s.connect_ex(('192.0.2.1', 443))"
        run([*namespace, sys.executable, "-c", probe])
        seen = read_counters(namespace)
        if not seen["tcp_syn"]:
            raise SystemExit("The counters do not see an attempt that was made.")
        run([*namespace, "nft", "reset", "counters", "table", "inet", "outbound"])
        code = subprocess.run([*namespace, *command], check=False).returncode
        counters = read_counters(namespace)
    finally:
        holder.kill()
        holder.wait()
    print(json.dumps({"exit_code": code, "outbound_packets": counters}, indent=1))
    return code or int(any(counters.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or COMMAND))
