"""Clients that send or read slowly hold no thread of the web server for long, and others are answered meanwhile."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import ExitStack

import pytest

from controlplane import keepalive_worker
from controlplane.slow_clients import RequestBuffer, count_unread_bytes, group_address
from tests.controlplane.web_server import read_all, running_server

BIG = bytes(16_000_000)
ASK = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LONG = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


def application(environ, start_response):
    """Answers with the method, the path and the length of the body; /big with more than the kernel buffers."""
    path = environ["PATH_INFO"]
    if path == "/big":
        start_response("200 OK", [("Content-Length", str(len(BIG)))])
        return [BIG]
    if path == "/file":
        file = open(os.environ["SLOW_CLIENTS_FILE"], "rb")  # noqa: SIM115 - the server closes it
        start_response("200 OK", [("Content-Length", str(len(BIG)))])
        return environ["wsgi.file_wrapper"](file)
    size = 0
    if path != "/unread":
        while chunk := environ["wsgi.input"].read(65536):
            size += len(chunk)
    text = f"{environ['REQUEST_METHOD']} {path} {size};".encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


@pytest.fixture
def server(request, monkeypatch):
    monkeypatch.setattr(keepalive_worker, "EVICT_AFTER_SECONDS", 0.1)
    with running_server(application, **getattr(request, "param", {})) as started:
        yield started


def limits(**values):
    return pytest.mark.parametrize("server", [values], indirect=True, ids=["limits"])


def answers_at_once(server):
    began = time.monotonic()
    assert server.ask(ASK).endswith(b"GET / 0;")
    return time.monotonic() - began < 30  # of the 60 after which a client that says nothing is given up


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# -- others are answered ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Half",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1",
        LONG + b"1",
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n1",
        LONG[:-2] + b"Expect: 100-continue\r\n\r\n",
        LONG + bytes(70_000),
    ],
    ids=["silent", "head", "short body", "long body", "chunked", "expect", "a good part"],
)
def test_unfinished_requests_leave_threads_for_others(server, part):
    with ExitStack() as clients:
        for _ in range(20):
            clients.enter_context(server.connect(part))
        assert answers_at_once(server)
        body = bytes(200_000)
        sent = b"PUT /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert server.ask(sent + body).endswith(b"PUT /x 200000;")


@pytest.mark.parametrize("path", [b"/big", b"/file"])
def test_unread_answers_leave_threads_for_others(server, path, tmp_path, monkeypatch):
    (tmp_path / "big").write_bytes(BIG)
    monkeypatch.setenv("SLOW_CLIENTS_FILE", str(tmp_path / "big"))
    with ExitStack() as clients:
        for _ in range(8):
            clients.enter_context(server.connect(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path, receive_buffer=4096))
        assert answers_at_once(server)
        assert len(server.ask(ASK.replace(b"/ ", path + b" "))) > len(BIG)


def test_a_body_waits_for_a_place_for_a_while_and_not_without_its_client(server, monkeypatch):
    monkeypatch.setattr(keepalive_worker, "EVICT_AFTER_SECONDS", 60)
    part = LONG + bytes(70_000)
    with server.connect(part), server.connect(part):
        wait_for(lambda: server.worker.places_taken == 2)
        with server.connect(part):
            wait_for(lambda: server.worker.queued_bodies)
        wait_for(lambda: not server.worker.queued_bodies)
        monkeypatch.setattr(keepalive_worker, "PLACE_SECONDS", 0.1)
        with server.connect(part) as client:
            assert b"too_many_uploads" in client.recv(1000)


# -- deadlines ---------------------------------------------------------------------------------------------------------
@limits(header_seconds=0.3, stall_seconds=0.3)
def test_each_deadline_ends_the_connection(server):
    kept = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    cases = {
        "silent": (b"", b""),
        "head": (b"GET / HT", b"408"),
        "head on a kept connection": (kept + b"GET / HT", b"408"),
        "short body": (b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1", b"408"),
        "long body": (LONG + b"1", b"408"),
        "long body in a thread": (LONG + bytes(70_000), b"408"),
        "chunked": (b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n1", b"408"),
    }
    with ExitStack() as clients:
        opened = {name: clients.enter_context(server.connect(sent)) for name, (sent, _) in cases.items()}
        got = {name: read_all(client) for name, client in opened.items()}
    wrong = {name: got[name] for name, (_, status) in cases.items() if status not in got[name]}
    assert wrong == {}
    assert got["silent"] == b""
    assert b'"code": "request_too_slow"' in got["head"]


def test_headers_that_are_too_large_are_refused(server):
    with server.connect(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000) as client:
        assert b"431" in read_all(client)


@limits(stall_seconds=0.3)
def test_an_answer_that_nobody_reads_ends_the_connection(server):
    with server.connect(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer=4096) as client:
        ended = select.poll()
        ended.register(client, 0)  # of itself it tells of a connection that was reset
        assert ended.poll(60_000)
        with pytest.raises(ConnectionResetError):
            read_all(client)


@limits(stall_seconds=2.0, min_rate=1000)
def test_a_slow_but_steady_client_is_served(server):
    """Each window of waiting brings what it must, even where the sender is late; all of it takes longer than one."""
    head = LONG.replace(b"1000000", b"78400\r\nConnection: close")
    with server.connect(head + bytes(70_000)) as client:
        for _ in range(7):
            time.sleep(0.35)
            client.sendall(bytes(1200))
        assert b"POST /body 78400;" in read_all(client)


# -- what the parser gets ----------------------------------------------------------------------------------------------
def test_every_split_of_a_stream_gives_the_same_answers(server):
    stream = (
        b"\r\nPOST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"
        b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET "
        b"GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    wrong = {}
    for at in range(0, len(stream), 3):
        with server.connect(stream[:at]) as client:
            client.sendall(stream[at:])
            got = [line.split(b"\r\n\r\n")[-1] for line in read_all(client).split(b";")[:-1]]
        if got != [b"POST /a 5", b"POST /b 3", b"POST /unread 0", b"GET /c 0"]:
            wrong[at] = got
    assert wrong == {}


def test_ambiguous_requests_are_refused(server):
    """Where two servers could see two ends of a message there is one answer, and the connection closes."""
    head = b"POST /a HTTP/1.1\r\nHost: x\r\n"
    cases = [
        head + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n12345",
        head + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head + b"Content-Length: +0\r\n\r\n",
        head + b"Content-Length : 0\r\n\r\n",
        head + b"Content-Length:\r\n 0\r\n\r\n",
        head + b"X: y\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
    ]
    wrong = []
    for case in cases:
        with server.connect(case + ASK) as client:
            client.shutdown(socket.SHUT_WR)
            got = read_all(client)
        if got.count(b"HTTP/1.1") != 1 or b" 400 " not in got:
            wrong.append((case, got))
    assert wrong == []


def test_a_request_is_ready_when_the_parser_will_find_it_whole():
    cases = {
        b"GET / HTTP/1.1\r\n\r\n": (True, False),
        b"GET / HTTP/1.1\r\n\r": (False, False),
        b"GET / HTTP/1.1\n": (True, False),
        b"POST / HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\nab": (False, False),
        b"POST / HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\nabc": (True, False),
        b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + bytes(65536): (True, True),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n": (True, True),
        b"POST / HTTP/1.1\r\nX: Content-Length: 3\r\n\r\n": (True, False),
    }
    wrong = {}
    for sent, expected in cases.items():
        for step in (1, 2, len(sent)):
            buffer = RequestBuffer()
            for at in range(0, len(sent), step):
                buffer.add(sent[at : at + step])
            if (buffer.is_ready, buffer.has_more) != expected or buffer.data != sent:
                wrong[sent[:80], step] = (buffer.is_ready, buffer.has_more)
    assert wrong == {}


# -- connections per address -------------------------------------------------------------------------------------------
@limits(per_address=8)
def test_more_connections_than_an_address_may_have_close_the_oldest_unfinished(server):
    with ExitStack() as clients:
        opened = [clients.enter_context(server.connect(b"GET / HT")) for _ in range(20)]
        assert answers_at_once(server)
        assert server.worker.nr_conns <= 8
        assert opened[0].recv(100) == b""


@limits(per_address=4)
def test_an_upload_goes_on_while_its_address_has_idle_connections(server):
    with server.connect(LONG.replace(b"1000000", b"9\r\nConnection: close") + b"1") as upload, ExitStack() as clients:
        wait_for(lambda: len(server.worker.waiting) == 1)
        for count in (2, 3, 4, 4, 4, 4, 4, 4):
            clients.enter_context(server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
            wait_for(lambda count=count: len(server.worker.waiting) == count)
        upload.sendall(b"23456789")
        assert read_all(upload).endswith(b"POST /body 9;")


def test_a_closed_socket_has_nothing_to_count():
    client = socket.socket()
    client.close()
    assert count_unread_bytes(client) == 0


def test_a_proxy_is_not_bound(server):
    server.worker.cfg.set("forwarded_allow_ips", "127.0.0.0/8")
    assert server.worker.get_counted_address(("127.0.0.9", 1)) is None
    assert server.worker.get_counted_address(("10.0.0.9", 1)) == "10.0.0.9"


def test_addresses_of_one_machine_count_together():
    assert group_address("2001:db8::1") == group_address("2001:db8::ffff:1") == "2001:db8::/64"
    assert group_address("::ffff:10.0.0.1") == group_address("10.0.0.1") == "10.0.0.1"
