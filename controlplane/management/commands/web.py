"""The web process of this host, for whoever supervises it: systemd, a container. `up` starts its own."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from controlplane.startup_checks import CannotStart, ready_database


class Command(BaseCommand):
    help = "Serve pages and REST at BIND and PORT until stopped."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        try:
            ready_database(migrate=False)
        except CannotStart as reason:
            self.stderr.write(str(reason))
            sys.exit(2)
        finally:
            connection.close()
        gunicorn = [sys.executable, "-m", "gunicorn", "--no-control-socket"]
        os.execv(sys.executable, [*gunicorn, "--config", "python:controlplane.gunicorn_conf"])  # noqa: S606 - no shell is meant
