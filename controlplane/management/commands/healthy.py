"""`healthy PART`: exit 0 while this host's part does its work, for a container's or a monitor's check."""

from __future__ import annotations

import http.client
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from apps.platform.jobs.scheduling import liveness
from apps.platform.nodes.models import Node

WEB_SECONDS = 5.0
BEAT_SECONDS = 900.0  # it writes its schedule down every 180 s, and wakes every 300 s at least


def check_web() -> str:
    """Why the web process of this host is not healthy; nothing when it is."""
    env = settings.ENV
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(env.bind, env.bind)  # noqa: S104 - compared, not bound
    client = http.client.HTTPConnection(address, env.port, timeout=WEB_SECONDS)
    try:
        client.request("GET", "/healthz", headers={"Host": settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost"})
        answer = client.getresponse()
    except (OSError, http.client.HTTPException) as failure:
        return f"no answer at {address} port {env.port}: {failure}"
    finally:
        client.close()
    return "" if answer.status == 200 else f"/healthz answered {answer.status}"


def check_worker() -> str:
    node = Node.objects.with_status().filter(name=settings.ENV.node).first()
    if node is None:
        return f"no node {settings.ENV.node!r} has registered"
    return "" if node.online else f"node {node.name} was last heard of at {node.heartbeat_at}"


def check_dispatcher() -> str:
    for part in liveness.PARTS:
        age = liveness.get_beat_age(part)
        if age is None or age > liveness.STALE_SECONDS:
            return f"no pulse of the {part}" if age is None else f"the {part} is silent for {age:.0f} s"
    return ""


def check_beat() -> str:
    schedule = Path(settings.CELERY_BEAT_SCHEDULE_FILENAME)
    written = [path.stat().st_mtime for path in schedule.parent.glob(f"{schedule.name}*")]
    if not written:
        return "it has not begun: there is no schedule"
    age = time.time() - max(written)
    return f"its schedule was last written {age:.0f} s ago" if age > BEAT_SECONDS else ""


LOOKS = {"web": check_web, "worker": check_worker, "dispatcher": check_dispatcher, "beat": check_beat}


class Command(BaseCommand):
    help = "Exit 0 while this part of the plane does its work on this host, else 1 with the reason."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", choices=sorted(LOOKS))

    def handle(self, *, part: str, **options: Any) -> None:
        try:
            reason = LOOKS[part]()
        except DatabaseError as failure:
            reason = f"the database cannot be used: {type(failure).__name__}"
        except OSError as failure:  # a Redis that is away, for the pulses
            reason = f"{type(failure).__name__}"
        if reason:
            self.stderr.write(f"{part}: {reason}")
            sys.exit(1)
        self.stdout.write(f"{part}: healthy")
