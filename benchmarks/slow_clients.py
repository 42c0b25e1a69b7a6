"""What slow clients do to a plane: latency of real requests without them, with them, and the ratio.

    python benchmarks/slow_clients.py [--seconds 60] [--address http://127.0.0.1:8000 --token TOKEN]

Starts a plane (or takes the one at `--address`, for instance behind the proxy, with an engineer's token), measures for
`--seconds`, attacks it from this machine, and measures for as long again: 300 clients that send a part of the headers,
140 that send the body of a log-in by a byte in five seconds, 20 that send 70 KB of an upload and then no more, 40 that
ask for a large artifact and do not read it. Who is cut off comes back at once.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import selectors
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TRICKLE_SECONDS = 5.0
PROBE_PAUSE = 0.2
PATIENCE = 30.0  # a probe that takes longer counts as this, and as an error
UPLOAD = os.urandom(1_000_000)
LARGE = 50_000_000
UNREAD_BUFFER = 4096
LOGIN = "/accounts/login/"


@dataclass(frozen=True)
class Target:
    address: str
    token: str
    large: str = ""  # path of an artifact of LARGE bytes

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.address)
        return parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)

    def open(self, seconds: float = PATIENCE, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(seconds)
        client.connect(self.place)
        if self.address.startswith("https"):
            return unverified().wrap_socket(client, server_hostname=self.place[0])
        return client

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        """A request on a connection of its own; the answer is read."""
        connection = http.client.HTTPConnection(*self.place, timeout=PATIENCE)
        connection.sock = self.open()
        connection.request(method, path, body, {"Connection": "close", **headers})
        answer = connection.getresponse()
        answer.content = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# -- the attack -----------------------------------------------------------------------------------------------------
@dataclass
class Attacker:
    """A client of one kind: what it sends at once, and what it sends a byte of every five seconds."""

    kind: str
    first: bytes
    then: bytes = b""
    receive_buffer: int = 0
    client: socket.socket | None = None
    sent: int = 0
    next_at: float = field(default_factory=time.monotonic)


def attackers(target: Target) -> list[Attacker]:
    host = "{}:{}".format(*target.place).encode()
    answer = target.ask("GET", LOGIN)
    cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0].encode()
    head = b"POST %s HTTP/1.1\r\nHost: %s\r\n" % (LOGIN.encode(), host)
    form = (
        head + b"Cookie: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 400\r\n\r\n" % cookie
    )
    bearer = target.bearer["Authorization"].encode()
    put = b"POST /api/v1/projects/demo/artifacts HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n" % (host, bearer)
    put += b"Content-Length: 9000000\r\n\r\n" + bytes(70_000)
    get = b"GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n" % (target.large.encode(), host, bearer)
    return (
        [Attacker("half headers", b"GET / HTTP/1.1\r\nHost: ", b"x" * 400) for _ in range(300)]
        + [Attacker("trickling bodies", form + b"c", b"s" * 398) for _ in range(140)]
        + [Attacker("stalled uploads", put) for _ in range(20)]
        + [Attacker("unread answers", get, receive_buffer=UNREAD_BUFFER) for _ in range(40)]
    )


def attack(target: Target, stop: Any, counts: Any) -> None:
    """Keep every attacker connected until `stop` is set; `counts` gets how often each kind was cut off."""
    everybody = attackers(target)
    cut: Counter[str] = Counter()
    with selectors.DefaultSelector() as selector:
        while not stop.is_set():
            for attacker in everybody:
                if attacker.client is None and time.monotonic() >= attacker.next_at:
                    connect(attacker, target, selector)
                elif attacker.client and attacker.then and time.monotonic() >= attacker.next_at:
                    trickle(attacker)
            for key, _ in selector.select(0.1):
                attacker = key.data
                if was_cut_off(attacker):
                    selector.unregister(attacker.client)
                    attacker.client.close()
                    attacker.client, attacker.next_at = None, time.monotonic() + 0.1
                    cut[attacker.kind] += 1
    counts.put(dict(cut))


def connect(attacker: Attacker, target: Target, selector: selectors.BaseSelector) -> None:
    try:
        attacker.client = target.open(2, attacker.receive_buffer)
        attacker.client.sendall(attacker.first)
    except OSError:
        attacker.client, attacker.next_at = None, time.monotonic() + 0.5
        return
    attacker.sent, attacker.next_at = 0, time.monotonic() + TRICKLE_SECONDS
    if attacker.kind != "unread answers":  # it reads nothing, so it is told of nothing
        selector.register(attacker.client, selectors.EVENT_READ, attacker)


def trickle(attacker: Attacker) -> None:
    attacker.next_at = time.monotonic() + TRICKLE_SECONDS
    try:
        attacker.client.send(attacker.then[attacker.sent : attacker.sent + 1])
        attacker.sent += 1
    except OSError:
        return  # the selector tells of it


def was_cut_off(attacker: Attacker) -> bool:
    try:
        return not attacker.client.recv(65536)
    except OSError:
        return True


# -- the probes -----------------------------------------------------------------------------------------------------
Probe = Callable[[Target], http.client.HTTPResponse]


def upload(target: Target) -> http.client.HTTPResponse:
    return target.ask("POST", "/api/v1/projects/demo/artifacts", os.urandom(8) + UPLOAD, **target.bearer)


PROBES: dict[str, Probe] = {
    "/healthz": lambda target: target.ask("GET", "/healthz"),
    "a page (log-in)": lambda target: target.ask("GET", LOGIN),
    "an API read (jobs)": lambda target: target.ask("GET", "/api/v1/projects/demo/jobs", **target.bearer),
    "an upload of 1 MB": upload,
}


@dataclass
class Timings:
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def probe(target: Target, seconds: float) -> dict[str, Timings]:
    """Each probe in a loop of its own, for so long."""
    found = {name: Timings() for name in PROBES}
    end = time.monotonic() + seconds

    def run(name: str) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                answer = PROBES[name](target)
                if answer.status >= 400:
                    found[name].errors[str(answer.status)] += 1
            except OSError as failure:
                found[name].errors[type(failure).__name__] += 1
            found[name].seconds.append(time.monotonic() - began)
            time.sleep(PROBE_PAUSE)

    loops = [threading.Thread(target=run, args=(name,)) for name in PROBES]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    return found


def measure(target: Target, seconds: float) -> bool:
    """Print the table; whether /healthz answered within a second throughout, and everything without an error."""
    calm = probe(target, seconds)
    stop, counts = multiprocessing.Event(), multiprocessing.Queue()
    process = multiprocessing.Process(target=attack, args=(target, stop, counts), daemon=True)
    process.start()
    time.sleep(3)  # until all of them are connected
    try:
        attacked = probe(target, seconds)
    finally:
        stop.set()
    print("| request | p50, ms | max | under attack: p50 | max | ratio of p50 | n | errors |")
    print("|---|---|---|---|---|---|---|---|")
    for name, before in calm.items():
        after = attacked[name]
        p50, later = (statistics.median(timings.seconds) * 1e3 for timings in (before, after))
        figures = [f"{p50:.1f}", f"{max(before.seconds) * 1e3:.0f}", f"{later:.1f}", f"{max(after.seconds) * 1e3:.0f}"]
        errors = ", ".join(f"{error} {count}" for error, count in (before.errors + after.errors).items()) or "0"
        print(f"| {name} | {' | '.join(figures)} | {later / p50:.2f} | {len(after.seconds)} | {errors} |")
    print(f"\nCut off: {counts.get(timeout=20)}.")
    errors = any(timings.errors for timings in (*calm.values(), *attacked.values()))
    return not errors and max(attacked["/healthz"].seconds) < 1


def with_large_artifact(target: Target) -> Target:
    answer = target.ask("POST", "/api/v1/projects/demo/artifacts", os.urandom(LARGE), **target.bearer)
    digest = json.loads(answer.content)["digest"]  # type: ignore[attr-defined]
    return Target(target.address, target.token, f"/api/v1/projects/demo/artifacts/{digest}")


@contextmanager
def plane_of_our_own(**more: str) -> Iterator[Target]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    with tempfile.TemporaryDirectory(prefix="bench-slow-", dir=os.environ.get("TMPDIR")) as folder:
        os.environ["PLANE_HOME"] = folder
        from tests.faults.homes import prepare_home
        from tests.faults.running import Running, environment_of

        environment = environment_of(Path(folder), WEB_THREADS="64", **more)
        running = Running(Path(folder), environment, prepare_home(environment).token)
        try:
            yield Target(running.facts()["address"], running.token)
        finally:
            running.stop()
            running.kill_everything()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--address", default="", help="a plane that runs, in place of one that is started")
    parser.add_argument("--token", default="", help="of an engineer there, with the scopes read and data:write")
    options = parser.parse_args()
    if options.address:
        is_good = measure(with_large_artifact(Target(options.address, options.token)), options.seconds)
    else:
        with plane_of_our_own() as target:
            is_good = measure(with_large_artifact(target), options.seconds)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
