"""Four hospitals and a server, each a process with its own credentials, on a network that is watched; some are killed.

Reduced for CI: fewer rounds than benchmarks/federation.py, which reports the figures.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deepseek.federated.features import read_site_data
from deepseek.federated.ledger import read_ledger
from deepseek.federated.spec import compute_study_digest
from tests.deepseek.federated.hospitals import build_heart_study, create_homes, mean_of, pool, train_alone, write_tables

ROOT = Path(__file__).resolve().parents[3]
PORT = 8102
CANARY = 233.171717
ROUNDS = 5

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root: a network of its own"),
]

WATCH = """
import socket, subprocess, sys
for command in ("link set lo up", "link add out0 type veth peer name out1", "link set out1 up",
                "address add 10.9.0.1/24 dev out0", "link set out0 up", "route add default dev out0"):
    subprocess.run(["ip", *command.split()], check=True)
everything = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
print("ready", flush=True)
with open(sys.argv[1], "wb") as file:
    while True:
        data, (device, *_) = everything.recvfrom(65535)
        file.write(len(data).to_bytes(4, "big") + device.encode().ljust(8) + data)
        file.flush()
"""


class Space:
    """A network namespace in which all packets are kept: a loopback, and a way out that leads nowhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command = ["unshare", "--net", sys.executable, "-c", WATCH, str(path)]
        self.watcher = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.watcher.stdout.readline() == b"ready\n"

    def start(self, *words: object) -> subprocess.Popen:
        inside = ["nsenter", f"--net=/proc/{self.watcher.pid}/ns/net", sys.executable, "-m", "deepseek.cli"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([*inside, *map(str, words)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)

    def stop(self) -> list[tuple[str, bytes]]:
        """End it; returns (device, frame) of every packet."""
        time.sleep(0.2)
        self.watcher.kill()
        self.watcher.wait()
        data, packets = self.path.read_bytes(), []
        while len(data) >= 12 and len(data) >= (end := 12 + int.from_bytes(data[:4], "big")):
            packets.append((data[4:12].decode().strip(), data[12:end]))
            data = data[end:]
        return packets


class Studio:
    """The processes of one study by name, which are started again after a kill."""

    def __init__(self, folder: Path, space: Space) -> None:
        self.folder, self.space = folder, space
        self.study = build_heart_study(rounds=ROUNDS, local_epochs=2)
        self.tables = write_tables(folder / "tables")
        plant_canary(self.tables["cleveland"])
        server, self.homes, rows, _ = create_homes(folder / "homes", self.tables)
        common = {"study": self.study.to_document(), "join_seconds": 300}
        self.homes["server"] = server
        self.write("server", common | {"sites": rows, "host": "127.0.0.1", "port": PORT, "round_seconds": 60})
        for site in self.tables:
            self.write(site, common | {"site": site, "server": f"127.0.0.1:{PORT}"})
        self.processes: dict[str, subprocess.Popen] = {}

    def write(self, name: str, spec: dict) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(spec))

    def start(self, name: str) -> None:
        words = ["--home", self.homes[name], "-o", self.folder / "out" / name]
        spec = self.folder / f"{name}.json"
        command = ["federation-server", spec] if name == "server" else ["federation-site", spec, self.tables[name]]
        self.processes[name] = self.space.start(*command, *words)

    def kill(self, name: str) -> None:
        """kill -9 of the process of the engine, and a new one."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()
        self.start(name)

    def count(self, site: str, kind: str) -> int:
        path = self.homes[site] / "ledger.jsonl"
        return path.read_bytes().count(f'"kind":"{kind}"'.encode()) if path.exists() else 0

    def await_that(self, condition) -> None:
        deadline = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def plant_canary(path: Path) -> None:
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[2] = str(CANARY)
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")


@pytest.fixture
def studio(tmp_path):
    space = Space(tmp_path / "packets")
    studio = Studio(tmp_path, space)
    yield studio
    for process in studio.processes.values():
        process.kill()
        process.wait()
    space.watcher.kill()
    space.watcher.wait()


def test_four_hospitals_train_one_model_and_only_its_updates_leave(studio):
    for name in studio.homes:
        studio.start(name)
    studio.await_that(lambda: studio.count("hungary", "join"))
    studio.kill("hungary")  # after it has joined
    studio.await_that(lambda: studio.count("cleveland", "update"))
    studio.kill("cleveland")  # after its update is in the ledger, before or after it has left
    studio.await_that(lambda: max(studio.count(site, "update") for site in studio.tables) >= 2)
    studio.kill("server")  # while a round is open
    studio.await_that(lambda: max(studio.count(site, "update") for site in studio.tables) >= 4)
    studio.kill("longbeach")
    studio.await_that(lambda: any(studio.count(site, "evaluation") for site in studio.tables))
    studio.kill("server")  # after the last round
    for name, process in studio.processes.items():
        assert process.wait(300) == 0, name
    packets = studio.space.stop()
    check_ledgers(studio)
    check_traffic(studio, packets)
    check_model(studio)


def check_ledgers(studio: Studio) -> None:
    """One update a round at most, verified; and the server counted no other updates than these."""
    digest = compute_study_digest(studio.study)
    document = json.loads((studio.folder / "out/server/federation.json").read_text())
    assert [each["round"] for each in document["rounds"]] == list(range(1, ROUNDS + 1))
    for site in studio.tables:
        entries = read_ledger((studio.homes[site] / "ledger.jsonl").read_bytes(), study=digest, site=site)
        updates = {entry.round: entry.digest for entry in entries if entry.kind == "update"}
        assert len(updates) == sum(entry.kind == "update" for entry in entries)
        counted = {each["round"]: each["updates"][site] for each in document["rounds"] if site in each["updates"]}
        assert counted.items() <= updates.items()
        assert [entry.kind for entry in entries if entry.kind == "refused"] == []


def check_traffic(studio: Studio, packets: list[tuple[str, bytes]]) -> None:
    """Nothing but TCP of the study's port was sent, and the planted row is neither in it nor in what was encrypted."""
    sent = [frame for device, frame in packets if device == "lo"]
    assert len(sent) > 100
    for frame in sent:
        ports = {int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[36:38], "big")}
        assert (frame[12:14], frame[23], PORT in ports) == (b"\x08\x00", 6, True)
    outward = [frame for device, frame in packets if device == "out0" and frame[12:14] != b"\x86\xdd"]
    assert outward == []
    low, high = 80, 650
    scaled = (CANARY - low) / (high - low) * 2 - 1
    traces = [
        str(CANARY).encode(),
        np.float32(scaled).tobytes(),
        np.float64(CANARY).tobytes(),
        np.float32(CANARY).tobytes(),
    ]
    updates = [path.read_bytes() for home in studio.homes.values() for path in home.glob("update-*")]
    assert len(updates) >= 4
    for trace in traces:
        assert not any(trace in data for data in (*sent, *updates))


def check_model(studio: Studio) -> None:
    """At least as good as the best local model on average, and within 2 points of one trained on all rows."""
    from safetensors.numpy import load_file

    study = studio.study
    data = {
        site: read_site_data(path, study.schema_, holdout=study.holdout, seed=study.seed)
        for site, path in studio.tables.items()
    }
    federated = mean_of(study, load_file(studio.folder / "out/server/model.safetensors"), data)
    best = max(mean_of(study, train_alone(study, part.training), data) for part in data.values())
    pooled = mean_of(study, train_alone(study, pool(data)), data)
    assert federated >= best
    assert federated >= pooled - 0.02
