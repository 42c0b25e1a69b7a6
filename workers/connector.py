"""Connects for an engine that has no network of its own: a process beside its sandbox, forked by the shim.

It asks the same gate as the engine does (deepseek/collect/gate.py), where the engine cannot change it: a name is looked
up only if it is listed, and only an address that a look-up gave, or that is listed itself, is connected to. The engine
gets the open socket and nothing else of this network. It ends with the last process that holds the other side.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

from workers.sandbox import CannotIsolate, enter

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
AT_ONCE = 128  # requests that are worked on
REQUEST_BYTES = 4096
START_SECONDS = 60.0


def start_connector(request: dict[str, Any], *, lifeline: int, close: tuple[int, ...]) -> socket.socket:
    """Fork it, without the descriptors to `close`, and wait until it serves; returns the engine's side.

    Raises CannotIsolate if it does not serve, or if the lifeline ends before it does. The caller has one thread.
    """
    shim = os.getpid()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ready, started = os.pipe()
        pid = os.fork()
    except OSError as failure:
        raise CannotIsolate(f"the connector to the network could not be started: {failure.strerror}") from None
    if pid:
        theirs.close()
        os.close(started)
        try:
            await_connector(pid, ready, lifeline)
        except CannotIsolate:
            ours.close()
            raise
        finally:
            os.close(ready)
        return ours
    code = 1
    try:
        ours.close()
        for descriptor in (ready, lifeline, *close):
            os.close(descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # The same sandbox, but for the network and what names are looked up with.
        enter({**request["sandbox"], "host_network": True})
        keep_engine_out()
        die_with(shim)
        serve(theirs, **request["connect"], started=started)
        code = 0
    except BaseException:  # noqa: BLE001 - this process ends here: the job's log says why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def await_connector(pid: int, ready: int, lifeline: int) -> None:
    """Return once the process has said that it serves; else end it and raise CannotIsolate."""
    readable, _, _ = select.select([ready, lifeline], [], [], START_SECONDS)
    if ready in readable and os.read(ready, 1):
        return
    os.kill(pid, signal.SIGKILL)  # not waited for: a file system may hold it, and the shim ends now
    if ready in readable:
        raise CannotIsolate("the connector to the network did not start; the job's log says why")
    if lifeline in readable:
        raise CannotIsolate("the attempt was stopped while the connector to the network started")
    raise CannotIsolate(f"the connector to the network did not start within {START_SECONDS:.0f} s")


def keep_engine_out() -> None:
    """Forbid others of this user to trace this process: it has the network, and the engine has the same user."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise CannotIsolate("the connector to the network cannot be closed to the engine")


def die_with(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def serve(channel: socket.socket, wanted: list[str], allowed: list[str], started: int | None = None) -> None:
    """Answer until the other side is closed. A byte to the descriptor `started` says that it begins to."""
    from deepseek.collect.gate import Gate

    gate, places = Gate(wanted, allowed), threading.BoundedSemaphore(AT_ONCE)
    if started is not None:
        os.write(started, b"1")
        os.close(started)
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, REQUEST_BYTES, 1)
        if not data:
            return
        if len(descriptors) != 1:
            continue
        places.acquire()
        arguments = (gate, data, socket.socket(fileno=descriptors[0]), places)
        threading.Thread(target=handle_request, args=arguments, daemon=True).start()


def handle_request(gate: Any, data: bytes, where: socket.socket, places: threading.BoundedSemaphore) -> None:
    """One request, from an engine that may be anybody's by now: what cannot be read is not answered."""
    with where, suppress(OSError, ValueError, TypeError, KeyError):
        try:
            request = json.loads(data)
            if "look_up" in request:
                host, port = request["look_up"]
                send_document(where, {"addresses": gate.resolve(str(host), int(port))})
            else:
                address, port = request["connect"]
                connect(gate, str(address), int(port), where)
        except OSError as failure:
            if not hasattr(failure, "code"):
                raise
            send_document(where, {"refused": [failure.code, failure.what, failure.message]})
        finally:
            places.release()


def connect(gate: Any, address: str, port: int, where: socket.socket) -> None:
    """Begin the connection and hand it over; the engine waits for it as for one of its own."""
    gate.check_address(address, port)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as new:
        new.setblocking(False)
        number = new.connect_ex((address, port))
        socket.send_fds(where, [json.dumps({"errno": number}).encode()], [new.fileno()])


def send_document(where: socket.socket, document: dict[str, Any]) -> None:
    where.send(json.dumps(document).encode())
