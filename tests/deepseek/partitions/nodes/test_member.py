"""What a node that is not the first makes of a scheduler that is late, goes, or lets a worker go."""

import socket
import threading
from types import SimpleNamespace

import pytest

from deepseek.partitions.carriers import WorkerLostError
from deepseek.partitions.nodes import member
from deepseek.partitions.nodes.membership import Credentials, Membership
from deepseek.partitions.nodes.supervisor import CLOSED, LOST, MAX_SHORT_LIVES, NodeProcesses
from deepseek.torchrun.placement import Placement
from tests.deepseek.partitions.nodes.conftest import Lines
from tests.planes_in_namespaces import await_that
from tests.ports import find_free_port


class Process:
    """A worker process that has ended with a code, or has not (None)."""

    stdin = None

    def __init__(self, code=None):
        self.returncode = code

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        return self.returncode


@pytest.fixture
def scheduler():
    """A port where nothing listens until `listen()`, nor after `close()`."""
    port, sockets = find_free_port(), []

    def listen():
        sockets.append(socket.create_server(("127.0.0.1", port)))

    def close():
        while sockets:
            sockets.pop().close()

    yield SimpleNamespace(port=port, listen=listen, close=close)
    close()


@pytest.fixture
def membership(scheduler, tmp_path):
    return Membership(Placement(2, 1, "127.0.0.1", scheduler.port), Credentials(tmp_path))


@pytest.fixture
def processes(membership, tmp_path, monkeypatch):
    """Two worker processes of the second node, none of which is started."""
    monkeypatch.setattr(NodeProcesses, "_start", lambda self, name, request: Process())
    return NodeProcesses(membership, tmp_path, {}, 2, Lines())


def test_a_worker_that_lost_a_scheduler_that_is_there_is_replaced(processes, scheduler):
    scheduler.listen()
    processes.workers[0] = Process(LOST)
    assert not processes.has_lost_scheduler
    processes.replace_lost()
    assert processes.workers[0].poll() is None
    assert any("it lost the scheduler" in line for line in processes.report.lines)
    for _ in range(MAX_SHORT_LIVES):  # as of a node with another SECRET_KEY, whose workers nobody takes
        processes.workers = {place: Process(LOST) for place in processes.workers}
        processes.replace_lost()
    assert processes.is_given_up
    with pytest.raises(WorkerLostError, match="do not stay"):
        member.run_workers(processes)


def test_a_scheduler_that_is_gone_is_not_a_cluster_that_has_ended(processes):
    processes.workers[0] = Process(LOST)
    processes.replace_lost()
    assert processes.workers[0].poll() == LOST
    assert member.run_workers(processes) is False
    processes.workers[1] = Process(CLOSED)  # the other one was told of the end
    assert not processes.has_lost_scheduler
    assert member.run_workers(processes) is True


def test_workers_start_when_the_scheduler_listens_and_again_after_it_was_away(
    membership, scheduler, tmp_path, monkeypatch
):
    started, codes = [], [LOST, CLOSED]

    class Processes(NodeProcesses):
        def _start(self, name, request):
            process = Process(codes[len(started)])
            started.append(name)
            if process.returncode == LOST:
                scheduler.close()
            return process

    monkeypatch.setattr(member, "NodeProcesses", Processes)
    monkeypatch.setattr(member, "read_membership", lambda: membership)
    results, report = [], Lines()
    arguments = {"inputs": {}, "out": tmp_path / "out", "report": report}
    thread = threading.Thread(
        target=lambda: results.append(member.run(SimpleNamespace(processes=1), **arguments)), daemon=True
    )
    thread.start()
    thread.join(0.5)
    assert not started  # the first node is still reading the table
    scheduler.listen()
    await_that(lambda: any("this node waits for it" in line for line in report.lines))
    assert not results
    scheduler.listen()
    thread.join(60)
    assert len(started) == 2
    assert results[0].outputs == ()
    assert not list(tmp_path.glob(".partitions-*"))
