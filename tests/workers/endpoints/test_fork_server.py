"""Servers that are forked by a process which has loaded their packages."""

import os
import signal

import pytest

from workers.endpoints import server_process
from workers.endpoints.server_process import ForkServer


@pytest.fixture
def fork_server(tmp_path):
    server = ForkServer(tmp_path)
    yield server
    server.close()


def test_a_server_is_forked_and_forking_survives_a_kill(fork_server, tmp_path):
    log = tmp_path / "replica-7.log"
    fork_server.prepare(["no_such_module"])
    first = fork_server.child
    for _ in range(2):
        server = fork_server.start_server([str(tmp_path / "none")], log=log, modules=[])
        assert server.wait(30), "a server without a model ends"
    assert (fork_server.child, first.poll()) == (first, None)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    server = fork_server.start_server([str(tmp_path / "none")], log=log, modules=[])
    assert server.wait(30)
    assert log.read_text().count("deepseek: ") == 3
    second = fork_server.child
    fork_server.close()
    assert second.poll() is not None


def test_without_a_fork_server_servers_start_as_they_are(fork_server, tmp_path, monkeypatch):
    monkeypatch.setattr(server_process.sys, "executable", "/bin/false")
    assert fork_server.start_server(["none"], log=tmp_path / "log", modules=[]) is None
    assert fork_server.child is None
    monkeypatch.setattr(server_process.ForkServer, "start", None)  # it is not tried again at once
    assert fork_server.start_server(["none"], log=tmp_path / "log", modules=[]) is None
