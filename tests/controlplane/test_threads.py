"""A thread of gunicorn stays with a connection whose next request comes at once, unless others wait for a thread."""

import socket
from io import BytesIO
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from gunicorn.workers.gthread import ThreadWorker

from controlplane.threads import StayingThreads


@pytest.fixture
def worker():
    made = StayingThreads.__new__(StayingThreads)
    made.alive, made.tpool = True, SimpleNamespace(_work_queue=SimpleQueue())
    return made


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parser = SimpleNamespace(unreader=SimpleNamespace(buf=BytesIO()))
        yield SimpleNamespace(sock=ours, parser=parser), theirs


@pytest.fixture
def answers(monkeypatch):
    """gthread's own handling: reads a byte for each request; "x" closes the connection."""
    seen = []

    def handle(self, conn):
        seen.append(conn.sock.recv(1))
        return seen[-1] != b"x"

    monkeypatch.setattr(ThreadWorker, "handle", handle)
    return seen


def test_answers_what_is_there_and_gives_back_what_rests(worker, ends, answers):
    conn, client = ends
    client.send(b"123")
    assert worker.handle(conn) is True
    assert answers == [b"1", b"2", b"3"]


def test_ends_with_the_connection(worker, ends, answers):
    conn, client = ends
    client.send(b"1x3")
    assert worker.handle(conn) is False
    assert answers == [b"1", b"x"]


@pytest.mark.parametrize("why", ["others wait", "read ahead", "stops"])
def test_gives_back_after_one_request(worker, ends, answers, why):
    conn, client = ends
    client.send(b"123")
    if why == "others wait":
        worker.tpool._work_queue.put("a request")
    elif why == "read ahead":
        conn.parser.unreader.buf.write(b"POST")
    else:
        worker.alive = False
    assert worker.handle(conn) is True
    assert answers == [b"1"]
