"""Drive labelling projects while there is something to do; the dispatcher starts it."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from workers.labelling.driver import drive_labellings

IDLE_SECONDS = 120.0


class Command(BaseCommand):
    help = "Import tasks to Label Studio, copy annotations, measure agreement and publish results."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="One round over what is due now.")

    def handle(self, *, once: bool, **options: Any) -> None:
        stopping = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        actor = build_plane_actor(PlaneRole.WORKER, host=settings.ENV.node)
        idle_since = time.monotonic()
        while not stopping.is_set():
            if drive_labellings(actor, stopping=stopping.is_set):
                idle_since = time.monotonic()
            if once or time.monotonic() - idle_since > IDLE_SECONDS:
                return
            stopping.wait(settings.ENV.dispatch_seconds)
