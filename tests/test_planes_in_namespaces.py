"""The network of planes itself: a plane reaches its peers, nothing else, and each frame that it sends is kept."""

from __future__ import annotations

import socket

import pytest

from tests.planes_in_namespaces import ARP, IPV4, needs_namespaces, open_network

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.allow_hosts(["127.0.0.1", "10.83.0.1", "10.83.0.2", "192.0.2.1"]),
    pytest.mark.xdist_group("browser"),
    needs_namespaces,
]
CANARY = b"these bytes leave the first, not the second"


def send(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(CANARY)
        connection.recv(1)  # until the peer has closed it


def test_frames_are_kept_by_who_sent_them(tmp_path):
    with open_network(tmp_path) as network:
        first, second = network.add_namespace("first"), network.add_namespace("second")
        address = (network.choose_address("second"), 7001)
        with second.call(socket.create_server, address) as server:
            sender = first.submit(send, address)
            peer, (host, _) = server.accept()
            while peer.recv(4096) != CANARY:
                continue
            peer.close()
            sender.result()
        with pytest.raises(OSError, match="unreachable"):
            first.call(socket.create_connection, ("192.0.2.1", 80), timeout=5)
        sent, answered = network.read_frames("first"), network.read_frames("second")
    assert (host, {frame.kind for frame in (*sent, *answered)}) == ("10.83.0.1", {IPV4, ARP})
    tcp = [frame for frame in sent if frame.kind == IPV4]
    assert {(frame.source[0], frame.target) for frame in tcp} == {("10.83.0.1", address)}
    assert CANARY in b"".join(frame.payload for frame in tcp)
    assert not any(CANARY in frame.data for frame in answered)
