"""Request counters of the web processes for `/metrics`: number, status and duration.

Every process of gunicorn has a file of counters, in `PLANE_HOME/metrics`, so that a scrape, which only one of them
answers, tells of all. The file belongs to a slot, not to a process id: a worker that replaces another goes on with its
numbers, so counters never fall, and there are never more files than workers at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import prometheus_client
from django.http import HttpRequest, HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

log = logging.getLogger(__name__)

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks for it
FILES = {"counter": 1 << 20, "histogram": 2 << 20, "gauge_livesum": 1 << 16}  # bytes: room for 5,000 and 10,000 numbers
LOCK = "lock"
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_lock: IO[str] | None = None

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


# -- the files of the processes -------------------------------------------------------------------------------------
def reset_counters(home: Path) -> None:
    """For gunicorn's arbiter, before there are workers: a folder of its own, empty, and an end to those whose arbiter
    has died. Without a folder each process counts by itself.
    """
    global _lock
    root = home / "metrics"
    folder = root / f"{socket.gethostname()}-{os.getpid()}"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in root.iterdir():
            if not is_in_use(other):
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(mode=0o700)
        _lock = (folder / LOCK).open("w")
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends, however it does
    except OSError as failure:
        log.warning("requests are counted by each process alone: %s", failure)
        os.environ.pop(FOLDER, None)
    else:
        os.environ[FOLDER] = str(folder)


def is_in_use(folder: Path) -> bool:
    """Whether a running arbiter, on any host that shares the home, holds this folder."""
    try:
        with (folder / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def find_free_slot(used: Iterable[int]) -> int:
    """The lowest number that no living worker has."""
    occupied = set(used)
    return next(slot for slot in range(len(occupied) + 1) if slot not in occupied)


def take_slot(slot: int) -> None:
    """For a worker, after the fork and before the application is loaded: count into the files of this slot.

    Their space is taken from the disk here. A file with holes would kill the process that writes to it when the disk
    is full; where there is no space now, this process counts in memory.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    try:
        for name, size in FILES.items():
            with Path(folder, f"{name}_{slot}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as failure:
        log.warning("this process counts its requests alone: %s", failure)
        os.environ.pop(FOLDER, None)
        values.ValueClass = values.MutexValue  # type: ignore[misc, assignment]
    else:
        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[misc, assignment, no-untyped-call]


def release_slot(slot: int) -> None:
    """For the arbiter, when a worker has ended: its open streams are gone, its counters stay."""
    if os.environ.get(FOLDER):
        mark_process_dead(slot)  # type: ignore[no-untyped-call]


# -- the numbers ----------------------------------------------------------------------------------------------------
class RequestCounters:
    """Counters of this process. Created at the first request, when it is settled where they are stored."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "plane_http_requests",
            "Requests by the name of the address, the method and the class of the status.",
            ("view", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "plane_http_request_seconds",
            "Seconds until the answer began, by the name of the address; of a stream until its first line.",
            ("view",),
            buckets=BOUNDS,
            registry=self.registry,
        )
        self.streams = Gauge(
            "plane_http_streams_open",
            "Event streams that are open now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )


_numbers: RequestCounters | None = None


def get_counters() -> RequestCounters:
    global _numbers
    if _numbers is None:
        _numbers = RequestCounters()
    return _numbers


def build_registry() -> CollectorRegistry:
    """The numbers of all processes of this host's web, or of this one where it is alone."""
    mine = get_counters().registry
    if not os.environ.get(FOLDER):
        return mine
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class CountRequests:
    """Outermost middleware, so that responses of the other layers are counted too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.monotonic()
        response = self.get_response(request)
        match: Any = request.resolver_match
        view = (match.view_name or "unnamed") if match else "none"  # never the path: there are endlessly many
        count(view, request, response, time.monotonic() - began)
        return response


def count(view: str, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """Count a response under its URL name; an error here loses the count, never the response."""
    try:
        add(view, request, response, seconds)
    except Exception:
        log.exception("a request was not counted")


def add(view: str, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    method = request.method if request.method in METHODS else "OTHER"
    counters = get_counters()
    counters.requests.labels(view, method, f"{response.status_code // 100}xx").inc()
    counters.seconds.labels(view).observe(seconds)
    if response.streaming and response.headers.get("Content-Type", "").startswith("text/event-stream"):
        counters.streams.inc()
        response._resource_closers.append(counters.streams.dec)  # type: ignore[attr-defined]
