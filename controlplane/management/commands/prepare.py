"""What a plane of several processes needs before the first of them starts; `up` does it by itself."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from controlplane.startup_checks import CannotStart, make_folders, ready_database


class Command(BaseCommand):
    help = "Make the folders of the home and bring the database's tables up to date. Running it again changes nothing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-migrate", action="store_true", help="Only see that the tables are up to date.")

    def handle(self, *, no_migrate: bool, **options: Any) -> None:
        try:
            make_folders(settings.ENV)
            ready_database(migrate=not no_migrate)
        except CannotStart as reason:
            self.stderr.write(str(reason))
            sys.exit(2)
        self.stdout.write(f"Ready: {settings.PLANE_HOME}")
