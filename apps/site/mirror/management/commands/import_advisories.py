"""manage.py import_advisories FILE: which versions of the index are vulnerable, by a feed that was carried in."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.site.mirror import services
from apps.site.mirror.models import Package


class Command(BaseCommand):
    help = "Take a file of advisories (OSV JSON, or PyPI's all.zip) in place of the former one (docs/packages.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a record, a list of records, or a zip of them")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        try:
            feed = services.import_advisories(actor=actor, path=options["file"])
        except PlaneError as error:
            raise CommandError(f"{error.message} {error.hint or ''}".strip(), returncode=2) from None
        dated = f"{feed.dated_at:%Y-%m-%d}" if feed.dated_at else "an unknown day"
        vulnerable = Package.objects.filter(advisory_count__gt=0).count()
        self.stdout.write(f"{feed.advisories:,} advisories as of {dated}.")
        self.stdout.write(f"The newest version of {vulnerable} packages has one.")
