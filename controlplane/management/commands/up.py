"""One command for one machine: web, worker, dispatcher and beat."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from controlplane.label_studio import LabelStudio
from controlplane.launcher import Launcher
from controlplane.startup_checks import CannotStart, ready_database

PARTS = ("web", "worker", "dispatcher", "beat")


def print_line(text: str) -> None:
    """To the terminal or wherever it leads; a pipe that was closed or a full disk must not end the plane."""
    with suppress(OSError):
        print(text, flush=True)


class Command(BaseCommand):
    help = "Start the plane on this machine and keep it running."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", default="", help="Parts to start, comma-separated: " + ", ".join(PARTS))
        parser.add_argument(
            "--with",
            default="",
            dest="extra",
            choices=("", "labelling"),
            help="Also start a Label Studio (make labelling).",
        )
        parser.add_argument("--no-migrate", action="store_true", help="Leave the database's tables as they are.")

    def handle(self, *, only: str, no_migrate: bool, extra: str = "", **options: Any) -> None:
        parts = [part.strip() for part in only.split(",") if part.strip()] or list(PARTS)
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            self.stderr.write(f"--only: there is no part {unknown[0]!r}. Parts: {', '.join(PARTS)}.")
            sys.exit(2)
        try:
            studio = LabelStudio(settings.ENV.home) if extra == "labelling" else None
            launcher = Launcher(settings.ENV, parts=parts, say=print_line, label_studio=studio)
            launcher.prepare()
            if studio is not None:
                studio.prepare()
            ready_database(migrate=not no_migrate)
        except CannotStart as reason:
            self.stderr.write(str(reason))
            sys.exit(2)
        sys.exit(launcher.run())
