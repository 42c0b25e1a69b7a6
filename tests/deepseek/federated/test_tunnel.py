"""The way of a site to its server through an HTTP proxy, and what it says of a proxy that does not connect."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

import pytest

from deepseek.federated import transport
from deepseek.federated.errors import FederationError
from deepseek.federated.tunnel import open_way_out, split_address


@pytest.fixture
def proxy():
    """proxy(answer) -> (address, heads): it gives each connection this answer, and then sends back what comes."""
    listeners = []

    def serve(listener, answer, heads):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(1)
                heads.append(head.decode())
                client.sendall(answer)
                if b" 200 " in answer:
                    client.sendall(client.recv(100))

    def start(answer: bytes):
        listener, heads = socket.create_server(("127.0.0.1", 0)), []
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, answer, heads), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}", heads

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def exchange(way_out, data: bytes = b"hello") -> bytes:
    """What comes back; empty where the connection is closed."""
    with socket.create_connection(split_address(way_out.address), timeout=20) as client:
        try:
            client.sendall(data)
            return client.recv(100)
        except ConnectionError:
            return b""


def test_a_site_that_connects_by_itself_needs_no_way():
    assert open_way_out("plane.example:8102") is None


def test_the_proxy_is_asked_for_the_server_and_passes_all_on(proxy):
    address, heads = proxy(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 site\r\n\r\n")
    way_out = open_way_out("plane.example:8102", proxy=address)
    assert exchange(way_out) == b"hello"
    assert heads == ["CONNECT plane.example:8102 HTTP/1.1\r\nHost: plane.example:8102\r\n\r\n"]
    assert (way_out.failure, way_out.refused_at) == ("", None)


@pytest.mark.parametrize(
    ("answer", "failure", "is_refusal"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "answered 403 Forbidden", True),
        (b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n", "answered 407", True),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 Bad Gateway", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer in HTTP", False),
        (b"x" * 9000, "does not answer in HTTP", False),
    ],
)
def test_an_answer_other_than_200_is_kept(proxy, answer, failure, is_refusal):
    way_out = open_way_out("plane.example:8102", proxy=proxy(answer)[0])
    assert exchange(way_out) == b""
    assert failure in way_out.failure
    assert (way_out.refused_at is not None) == is_refusal


def test_a_site_gives_up_where_its_proxy_goes_on_refusing(proxy, monkeypatch):
    way_out = open_way_out("plane.example:8102", proxy=proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n")[0])
    exchange(way_out)
    connection = SimpleNamespace(
        way_out=way_out, patience=0.2, _cell=SimpleNamespace(max_bytes=1, is_backbone_ready=lambda: False)
    )
    with pytest.raises(FederationError) as caught:  # it may be about to let the site through
        transport.SiteConnection.request(connection, "join", b"")
    assert (caught.value.code, "403 Forbidden" in str(caught.value)) == ("server_unreachable", True)
    monkeypatch.setattr(transport, "REFUSED_SECONDS", 0.0)
    with pytest.raises(FederationError) as caught:
        transport.SiteConnection.request(connection, "join", b"")
    assert (caught.value.code, "403 Forbidden" in str(caught.value)) == ("proxy_refused", True)
