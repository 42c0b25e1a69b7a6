"""The way out of an engine that has no network: whoever started it connects for it, to what it may reach.

The engine asks over a Unix socket that it was given; the answer to a connection is the open socket itself. The other
side (workers/connector.py) holds the list, looks names up and refuses what is not on it, outside of the engine's reach.
"""

import errno
import json
import os
import select
import socket
import sys
import weakref
from collections.abc import Callable
from typing import Any

VARIABLE = "ENGINE_CONNECTOR"
"""Number of the descriptor, in the environment of an engine that has such a way out."""
ANSWER_BYTES = 1 << 16

Address = tuple[Any, ...]


class NotAdmitted(OSError):
    """The other side refuses. `code`, `what` and `message` as deepseek/collect/gate.py has them."""

    def __init__(self, code: str, what: str, message: str) -> None:
        super().__init__(message)
        self.code, self.what, self.message = code, what, message


class Connector:
    """This side. May be used by many threads at once."""

    def __init__(self, descriptor: int) -> None:
        self._channel = socket.socket(fileno=descriptor)
        self._connected: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._real_connect_ex = socket.socket.connect_ex

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses that the name stands for and that may be connected to. Raises NotAdmitted if there are none."""
        answer, _ = self._request({"look_up": [host, port]})
        return [str(address) for address in answer["addresses"]]

    def connect(self, where: socket.socket, address: Address) -> int:
        """Put a connection to `address` in the place of `where`; returns what `connect_ex` would."""
        sys.audit("socket.connect", where, address)  # what this process has forbidden itself, holds here too
        if where in self._connected:  # asked again whether it is there
            return self._real_connect_ex(where, address)
        answer, descriptor = self._request({"connect": [str(address[0]), int(address[1])]})
        if descriptor is None:
            return int(answer["errno"])
        os.dup2(descriptor, where.fileno(), inheritable=False)
        os.close(descriptor)
        self._connected.add(where)
        return int(answer["errno"])

    def _request(self, request: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
        """One request on a socket of its own, so that a slow name holds up nobody else."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                socket.send_fds(self._channel, [json.dumps(request).encode()], [theirs.fileno()])
            data, descriptors, _, _ = socket.recv_fds(ours, ANSWER_BYTES, 1)
        if not data:
            raise OSError("The way out of the sandbox is closed.")
        answer = json.loads(data)
        if "refused" in answer:
            raise NotAdmitted(*answer["refused"])
        return answer, descriptors[0] if descriptors else None

    def install(self, is_own: Callable[[Address], bool]) -> None:
        """From now on sockets of this process connect through here, but for addresses that are its `own`."""
        real_connect = socket.socket.connect

        def is_foreign(sock: socket.socket, address: Any) -> bool:
            inet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type & socket.SOCK_STREAM
            return bool(inet) and isinstance(address, tuple) and not is_own(address)

        def connect_ex(sock: socket.socket, address: Any) -> int:
            return self.connect(sock, address) if is_foreign(sock, address) else self._real_connect_ex(sock, address)

        def connect(sock: socket.socket, address: Any) -> None:
            if not is_foreign(sock, address):
                real_connect(sock, address)
                return
            number = self.connect(sock, address)
            if number == errno.EINPROGRESS and sock.gettimeout() != 0:
                number = wait_until_connected(sock)
            if number:
                raise OSError(number, os.strerror(number))

        for name, function in (("connect", connect), ("connect_ex", connect_ex)):
            setattr(socket.socket, name, function)


def wait_until_connected(sock: socket.socket) -> int:
    """For a socket that blocks: the error of its connection, 0 for none."""
    limit = sock.gettimeout()
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    if not poll.poll(None if limit is None else limit * 1000):
        return errno.ETIMEDOUT
    os.set_blocking(sock.fileno(), limit is None)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
