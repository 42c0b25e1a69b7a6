"""The OpenLineage events of jobs on their way out: to a file, or to an address of the private network.

What is to be told lies in the database (jobs/notices.py) until it was acknowledged: the file synced, or a status
of 2xx. A listener that is away costs a pause that doubles; one that says 4xx will never take it and is not asked
again. One that dies between the answer and the database is sent the event once more, with the same run and time.
"""

from __future__ import annotations

import fcntl
import http.client
import ipaddress
import json
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.gateways.openlineage.events import build_event, load_facts
from apps.platform.jobs import notices
from apps.platform.jobs.models import JobNotice

log = logging.getLogger(__name__)

BATCH = 50
SECONDS = 5.0  # until a listener has answered
RETRIED = (408, 425, 429)  # of 4xx: it may take it later
READ = 2000  # bytes of an answer that are read to say what was wrong


class SinkUnavailable(Exception):
    """The sink is unavailable; the event is sent again later."""


class SinkRefused(Exception):
    """The sink rejected the event for good; the text says why."""


class Sink(Protocol):
    name: str

    def send(self, event: dict[str, Any]) -> None:
        """Return once the sink has stored the event. Raises SinkUnavailable or SinkRefused."""


def build_sinks() -> list[Sink]:
    """Build the sinks that the environment configures."""
    env = settings.ENV
    factories: dict[str, Callable[[], Sink]] = {
        "file": lambda: FileSink(Path(env.openlineage_file), env.openlineage_file_bytes, env.log_files),
        "http": lambda: HttpSink(env.openlineage_http_url, env.openlineage_api_key.get_secret_value()),
    }
    return [factories[name]() for name in settings.OPENLINEAGE_SINKS]


def send_notices(actor: Actor, sink: Sink, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Tell a sink what waits for it, the oldest first, until nothing is left, it is away, or `stopping`.

    Returns how many it took.
    """
    took = 0
    while not stopping():
        waiting = notices.take_notices(actor=actor, sink=sink.name, most=BATCH)
        if not waiting:
            return took
        done = send_events(actor, sink, waiting)
        took += done
        if done < len(waiting):
            return took
    return took


def send_events(actor: Actor, sink: Sink, waiting: Sequence[JobNotice]) -> int:
    """Send in order; how many need not be sent again. The rest are given back, or wait."""
    reader = build_plane_actor(PlaneRole.WORKER, host=settings.ENV.node)
    facts = load_facts(reader, list({notice.event.job_id: notice.event.job for notice in waiting}.values()))
    begun = time.monotonic()
    for index, notice in enumerate(waiting):
        if time.monotonic() - begun > notices.LEASE.total_seconds() / 2:  # a slow listener: before another takes them
            notices.release_notices(actor=actor, notices=waiting[index:])
            return index
        job = notice.event.job
        try:
            sink.send(build_event(facts[job.pk], notice.event))
        except SinkRefused as failure:
            log.warning("openlineage, %s: job %s was refused: %s", sink.name, job.pk, failure)
            notices.refuse_notice(actor=actor, notice=notice, why=str(failure))
        except (KeyError, TypeError, ValueError, AttributeError) as failure:  # a defect must not hold up all others
            log.exception("openlineage, %s: the event of job %s cannot be made", sink.name, job.pk)
            notices.refuse_notice(actor=actor, notice=notice, why=repr(failure))
        except (SinkUnavailable, OSError) as failure:
            pause = notices.reschedule_notices(actor=actor, notices=[notice])
            notices.release_notices(actor=actor, notices=waiting[index + 1 :])
            log.warning("openlineage, %s: %s; again in %.0f s", sink.name, failure, pause)
            return index
        else:
            notices.acknowledge_notices(actor=actor, notices=[notice])
    return len(waiting)


# -- a file ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FileSink:
    """Lines of JSON, appended and synced one by one; a full file is put aside as FILE.1, and so on."""

    path: Path
    most: int  # bytes
    files: int  # with the one that is written
    name: str = "file"

    def send(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock_file():
            if self.path.exists() and self.path.stat().st_size + len(line) > self.most:
                self.put_aside()
            with self.path.open("ab+") as file:
                if file.tell() and not self.is_complete(file):
                    line = b"\n" + line  # who wrote before was killed in the middle of a line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

    def lock_file(self) -> Any:
        """Two dispatchers of one host take turns. The lock has a file of its own: the other one is renamed."""
        file = self.path.with_name(f"{self.path.name}.lock").open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    @staticmethod
    def is_complete(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return bool(file.read(1) == b"\n")

    def put_aside(self) -> None:
        for number in range(self.files - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        if self.files == 1:
            self.path.unlink()


# -- an address -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class HttpSink:
    """POST, one event per request, as the stock clients do. Only to the private network; no proxy, no redirect."""

    url: str
    key: str
    name: str = "http"

    def send(self, event: dict[str, Any]) -> None:
        parts = urlsplit(self.url)
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection = self.open_connection()
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            reply = answer.read(READ).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as failure:
            raise SinkUnavailable(f"{parts.hostname} does not answer: {failure}") from None
        finally:
            connection.close()
        if 200 <= answer.status < 300:
            return
        if 400 <= answer.status < 500 and answer.status not in RETRIED:
            raise SinkRefused(f"{answer.status}: {reply[:300]}")
        raise SinkUnavailable(f"{parts.hostname} answers {answer.status}")

    def open_connection(self) -> http.client.HTTPConnection:
        """A connection to an address that was looked at first: a name may mean another one a moment later."""
        parts = urlsplit(self.url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        address = resolve_private_address(host, parts.port or (443 if secure else 80))
        client: http.client.HTTPConnection
        if secure:
            client = http.client.HTTPSConnection(
                host, parts.port, timeout=SECONDS, context=ssl.create_default_context()
            )
        else:
            client = http.client.HTTPConnection(host, parts.port, timeout=SECONDS)
        client._create_connection = lambda _place, *more, **options: socket.create_connection(  # type: ignore[attr-defined]
            address, *more, **options
        )
        return client


def resolve_private_address(host: str, port: int) -> tuple[str, int]:
    """The first address of a host; SinkUnavailable if any is public: nothing leaves the plane."""
    try:
        addresses = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as failure:
        raise SinkUnavailable(f"{host} is not known: {failure}") from None
    for address in addresses:
        if not ipaddress.ip_address(address.partition("%")[0]).is_private:
            raise SinkUnavailable(f"{host} is {address}, which is not of a private network: nothing is sent there")
    return addresses[0], port
