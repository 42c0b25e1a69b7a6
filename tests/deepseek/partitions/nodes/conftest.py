"""Two nodes of one job on the loopback: each with a scratch folder, inputs and worker processes of its own."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from deepseek.job import Silent
from deepseek.partitions.nodes.carrier import open_nodes_carrier
from deepseek.partitions.nodes.membership import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    Credentials,
    Membership,
)
from deepseek.partitions.nodes.supervisor import Keeper, NodeProcesses
from deepseek.torchrun.placement import Placement
from tests.certificates import make_certificate
from tests.ports import find_free_port

WATCH = """
import os, sys
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        address = details[1] if event == "socket.connect" else details[0]
        with open({path!r}, "a") as file:
            file.write(f"{{address[0] if isinstance(address, tuple) else address}}\\n")
sys.addaudithook(watch)
"""


class Lines(Silent):
    """Keeps the log."""

    def __init__(self):
        self.lines = []

    def log(self, text, *, level="info"):
        self.lines.append(text)


class Steps:
    """Keeps what a carrier tells of its tasks."""

    def __init__(self):
        self.steps = []

    def begin(self, tasks):
        self.steps = [("begin", tasks)]

    def start(self, number):
        self.steps.append(("start", number))

    def finish(self, number):
        self.steps.append(("finish", number))

    def lose(self, numbers):
        self.steps.append(("lose", *numbers))


def write_credentials(folder: Path) -> Credentials:
    """One certificate that signs itself, as authority and for both sides."""
    folder.mkdir()
    pem = make_certificate(folder / AUTHORITY_FILE).read_bytes()
    for name in (CERTIFICATE_FILE, KEY_FILE):
        (folder / name).write_bytes(pem)
    return Credentials(folder)


class TwoNodes:
    """`open(table)` starts a cluster over two nodes, each of which has a copy of the table."""

    def __init__(self, folder: Path):
        self.folder, self.stack = folder, ExitStack()
        self.report, self.observer = Lines(), Steps()
        self.names = [folder / name for name in ("first", "second")]
        self.scratch = [name / "scratch" for name in self.names]
        for path in self.scratch:
            path.mkdir(parents=True)
        self.credentials = write_credentials(folder / "credentials")

    def copy(self, name: str, data: bytes) -> dict[str, Path]:
        """Lay an input into both nodes; returns that of the first."""
        for node in self.names:
            (node / "inputs").mkdir(exist_ok=True)
            (node / "inputs" / name).write_bytes(data)
        return {"table": self.names[0] / "inputs"}

    def open(self):
        port = find_free_port()
        members = [Membership(Placement(2, rank, "127.0.0.1", port), self.credentials) for rank in (0, 1)]
        inputs = [{"table": node / "inputs"} for node in self.names]
        for each in inputs:
            each["table"].mkdir(exist_ok=True)
        self.second = NodeProcesses(members[1], self.scratch[1], inputs[1], 1, self.report)
        self.stack.callback(self.second.stop)
        self.stack.callback(Keeper(self.second).close)
        self.carrier = self.stack.enter_context(
            open_nodes_carrier(
                members[0],
                1,
                folder=self.scratch[0],
                inputs=inputs[0],
                report=self.report,
                observer=self.observer,
            )
        )
        self.first = self.carrier.processes
        self.await_workers(2)
        return self.carrier

    def await_workers(self, count: int) -> None:
        self.carrier.client.wait_for_workers(count, timeout=240)

    def close(self) -> None:
        self.stack.close()


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A file with every address that processes started from here connect to, or look up."""
    (tmp_path / "site").mkdir()
    path = tmp_path / "addresses"
    (tmp_path / "site/sitecustomize.py").write_text(WATCH.format(path=str(path)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return path


@pytest.fixture
def nodes(tmp_path):
    two = TwoNodes(tmp_path / "nodes")
    yield two
    two.close()
