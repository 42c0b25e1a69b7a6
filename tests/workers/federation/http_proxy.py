"""A site's HTTP proxy that knows CONNECT alone: python -I http_proxy.py HOST PORT [REFUSED_STATUS]

It refuses every request where a status is named. It prints the target of each request.
"""

from __future__ import annotations

import select
import socket
import sys
import threading

MAX_HEAD_BYTES = 8192


def read_head(client: socket.socket) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < MAX_HEAD_BYTES:
        data = client.recv(1)  # what follows the head is TLS, and not ours
        if not data:
            break
        head += data
    return head.decode("latin-1")


def serve(client: socket.socket, refused: str) -> None:
    with client:
        method, _, rest = read_head(client).partition(" ")
        target = rest.partition(" ")[0]
        print(method, target, flush=True)
        if refused or method != "CONNECT":
            client.sendall(f"HTTP/1.1 {refused or 405} Refused\r\nContent-Length: 0\r\n\r\n".encode())
            return
        host, _, port = target.rpartition(":")
        try:
            server = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with server:
            server.settimeout(None)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            relay(client, server)


def relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        for source in select.select([one, other], [], [])[0]:
            try:
                data = source.recv(65_536)
                if not data:
                    return
                (other if source is one else one).sendall(data)
            except OSError:
                return


def main(host: str, port: str, refused: str = "") -> None:
    with socket.create_server((host, int(port))) as listener:
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, refused), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
