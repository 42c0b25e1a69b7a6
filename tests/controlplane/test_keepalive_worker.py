"""A thread of gunicorn stays with a connection whose next request comes at once, unless others wait for a thread."""

import socket
from io import BytesIO
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker

from controlplane.keepalive_worker import BoundedThreads
from controlplane.slow_clients import ClientLimits, ClientSocket

ASK = b"GET / HTTP/1.1\r\n\r\n"
LAST = b"END / HTTP/1.1\r\n\r\n"


@pytest.fixture
def worker():
    made = BoundedThreads.__new__(BoundedThreads)
    made.alive, made.tpool = True, SimpleNamespace(_work_queue=SimpleQueue())
    return made


@pytest.fixture
def ends():
    accepted, theirs = socket.socketpair()
    ours = ClientSocket(accepted, ClientLimits(5, 5, 1, 8), set())
    with ours, theirs:
        yield SimpleNamespace(sock=ours, parser=SimpleNamespace(unreader=SocketUnreader(ours))), theirs


@pytest.fixture
def answers(monkeypatch):
    """gthread's own handling: takes one request; END closes the connection."""
    seen = []

    def handle(self, conn):
        conn.sock.setblocking(True)
        seen.append(conn.parser.unreader.read(len(ASK)))
        return seen[-1] != LAST

    monkeypatch.setattr(ThreadWorker, "handle", handle)
    return seen


def test_answers_what_comes_and_gives_back_what_rests(worker, ends, answers):
    conn, client = ends
    client.send(ASK)
    conn.parser.unreader.buf = BytesIO()
    assert worker.handle(conn) is True
    assert answers == [ASK]


def test_stays_for_the_next_request(worker, ends, answers, monkeypatch):
    conn, client = ends
    client.send(ASK)
    coming = [LAST, ASK]
    original = BoundedThreads.has_next_request
    monkeypatch.setattr(BoundedThreads, "has_next_request", lambda *args: client.send(coming.pop()) and original(*args))
    assert worker.handle(conn) is False
    assert answers == [ASK, ASK, LAST]


@pytest.mark.parametrize("why", ["others wait", "read ahead", "stops", "a part", "a long body"])
def test_gives_back_after_one_request(worker, ends, answers, why, monkeypatch):
    conn, client = ends
    client.send(ASK)
    more = {"a part": ASK[:-1], "a long body": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"}.get(why, ASK)
    original = BoundedThreads.has_next_request
    monkeypatch.setattr(BoundedThreads, "has_next_request", lambda *args: client.send(more) and original(*args))
    if why == "others wait":
        worker.tpool._work_queue.put("a request")
    elif why == "read ahead":
        client.send(b"POST")
        conn.parser.unreader.chunk = lambda size: conn.sock.recv(8192)
    elif why == "stops":
        worker.alive = False
    assert worker.handle(conn) is True
    assert answers == [ASK]
    if why in ("a part", "a long body"):
        assert conn.parser.unreader.take_buffered() == more
