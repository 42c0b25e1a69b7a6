"""The four hospitals of the heart study as four planes. Switzerland's only way out is its HTTP proxy."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deepseek.federated.hospitals import write_tables
from tests.planes_in_namespaces import BridgedNetwork, open_network
from tests.workers.federation.planes import PORT

SITES = ("cleveland", "hungary", "longbeach", "switzerland")
SERVER = f"10.83.0.1:{PORT}"
BEHIND_PROXY, PROXY_ADDRESS = "10.84.0.4", "10.84.0.254"
PROXY, STRICT_PROXY = f"{PROXY_ADDRESS}:3128", f"{PROXY_ADDRESS}:3129"
HTTP_PROXY = Path(__file__).with_name("http_proxy.py")


@contextmanager
def open_hospitals(folder: Path) -> Iterator[BridgedNetwork]:
    """The four planes, and two proxies between the networks: one connects, the other refuses. Cleveland may serve."""
    with open_network(folder) as network:
        network.hub.configure("address", "add", f"{PROXY_ADDRESS}/24", "dev", "bridge0")
        for site in SITES:
            network.add_namespace(site, address=BEHIND_PROXY if site == "switzerland" else "")
        proxies = [start_proxy(network, PROXY), start_proxy(network, STRICT_PROXY, "403")]
        try:
            network.start_planes(
                *SITES,
                LEASE_SECONDS="600",  # what is lost, is noticed by the loss of its process
                FEDERATION_SERVERS=SERVER,
                settings={
                    "cleveland": {"FEDERATION_PORTS": str(PORT)},
                    "switzerland": {"FEDERATION_SERVERS": f"{PROXY},{STRICT_PROXY}"},
                },
            )
            yield network
        finally:
            for proxy in proxies:
                proxy.kill()
                proxy.communicate()


def start_proxy(network: BridgedNetwork, address: str, status: str = "") -> subprocess.Popen:
    words = [sys.executable, "-I", HTTP_PROXY, *address.split(":"), *([status] if status else [])]
    proxy = network.hub.start(*words, stdout=subprocess.PIPE)
    assert proxy.stdout.readline() == b"ready\n"
    return proxy


def write_clean_tables(folder: Path, *, changes: dict[str, dict[str, str]] | None = None) -> dict[str, Path]:
    """A table for each hospital, in which no cholesterol is an empty cell and not 0: its plane refuses a column without
    a value that fits. `changes`: cells of the first row, by site."""
    tables = write_tables(folder)
    for site, path in tables.items():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        rows[0] |= (changes or {}).get(site, {})
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(row | {"chol": "" if row["chol"] == "0" else row["chol"]} for row in rows)
    return tables
