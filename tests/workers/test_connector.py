"""The way out of a sandbox: what is listed is connected to, whatever the engine asks for and however it asks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from deepseek.connector import Connector, NotAdmitted
from workers import connector as module
from workers.sandbox import CannotIsolate


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def reach(server) -> Iterator[Connector]:
    """The engine's side of a connector to the server's port alone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    allowed = [f"127.0.0.1:{server.getsockname()[1]}"]
    serving = threading.Thread(target=module.serve, args=(theirs, allowed, allowed))
    serving.start()
    connector = Connector(ours.detach())
    yield connector
    connector._channel.close()
    serving.join(timeout=60)
    assert not serving.is_alive()


def test_listed_host_is_connected_to(reach, server):
    port = server.getsockname()[1]
    assert reach.resolve("127.0.0.1", port) == ["127.0.0.1"]
    with socket.socket() as here:
        assert reach.connect(here, ("127.0.0.1", port)) in (0, 115)
        there, _ = server.accept()
        with there:
            there.sendall(b"hello")
            os.set_blocking(here.fileno(), True)
            assert here.recv(5) == b"hello"


def test_nothing_else_is_reached(reach, server):
    port = server.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as other:
        asked = {
            "another port": lambda: reach.resolve("127.0.0.1", other.getsockname()[1]),
            "another name": lambda: reach.resolve("localhost", port),
            "an address that no look-up gave": lambda: reach.connect(socket.socket(), ("127.0.0.1", port)),
            "another address": lambda: reach.connect(socket.socket(), ("127.0.0.2", port)),
        }
        reached = []
        for name, ask in asked.items():
            try:
                ask()
                reached.append(name)
            except NotAdmitted:
                continue
        assert reached == []


def test_nonsense_is_not_answered_and_ends_nothing(reach, server):
    wrong = [b"", b"{", b"[]", b'{"connect": 1}', b'{"look_up": ["x"]}', json.dumps({"look_up": [[], {}]}).encode()]
    for data in wrong:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                if data:
                    socket.send_fds(reach._channel, [data], [theirs.fileno()])
            assert ours.recv(100) == b""
    reach._channel.send(b'{"connect": ["127.0.0.1", 1]}')  # without a socket for the answer
    assert reach.resolve("127.0.0.1", server.getsockname()[1]) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("ends", "reason"),
    [("lifeline", "the attempt was stopped"), ("", "did not start within 0 s"), ("ready", "the job's log says why")],
)
def test_connector_that_does_not_start_is_given_up(monkeypatch, ends, reason):
    """A file system that is away may hold it for ever: the attempt is not held with it."""
    monkeypatch.setattr(module, "START_SECONDS", 0.1 if not ends else 60.0)
    pipes = {"ready": os.pipe(), "lifeline": os.pipe()}
    process = subprocess.Popen(["sleep", "60"])
    if ends:
        os.close(pipes[ends][1])
    with pytest.raises(CannotIsolate, match=reason):
        module.await_connector(process.pid, pipes["ready"][0], pipes["lifeline"][0])
    assert process.wait(timeout=60) == -signal.SIGKILL
    for name, (reading, writing) in pipes.items():
        os.close(reading)
        if name != ends:
            os.close(writing)


def test_process_that_cannot_be_made_is_no_sandbox(monkeypatch):
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module.os, "fork", refuse)
    with pytest.raises(CannotIsolate, match="Resource temporarily unavailable"):
        module.start_connector({}, lifeline=-1, close=())
