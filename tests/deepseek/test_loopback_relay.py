"""The loopback port behind which a server is."""

from __future__ import annotations

import socket
import threading

from deepseek.loopback_relay import LoopbackRelay


def test_both_directions_and_the_end_are_passed_on():
    """Half-closed too: a client that has sent everything still gets its answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                received = b""
                while chunk := connection.recv(65536):
                    received += chunk
                connection.sendall(received[::-1])

    threading.Thread(target=answer, daemon=True).start()
    relay = LoopbackRelay(f"http://127.0.0.1:{server.getsockname()[1]}", None)
    relay.start()
    port = int(relay.url.rpartition(":")[2])
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"ab" * 100_000)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := client.recv(65536):
                received += chunk
        assert received == b"ba" * 100_000


def test_plane_that_is_away_ends_the_connection_alone():
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    relay = LoopbackRelay(f"http://127.0.0.1:{port}", None)
    relay.start()
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", int(relay.url.rpartition(":")[2])), 10) as client:
            assert client.recv(1) == b""
