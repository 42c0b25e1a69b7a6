"""The clock of the housekeeping tasks. One per plane; a second one only rings twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from controlplane.celery import app


class Command(BaseCommand):
    help = "Ring for scrubs, verifications and sweeps when they are due, until stopped."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        schedule = Path(settings.CELERY_BEAT_SCHEDULE_FILENAME)
        schedule.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.environ.pop("BROKER_URL", None)  # as the worker does
        app.start(["beat", "--schedule", str(schedule), "--pidfile=", f"--loglevel={settings.ENV.log_level}"])
