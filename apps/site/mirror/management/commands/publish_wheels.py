"""manage.py publish_wheels DIR: a folder of wheels that was carried in, checked whole and published whole."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.site.mirror import services
from apps.site.mirror.environments import build_environments
from apps.site.mirror.names import normalize_name


class Command(BaseCommand):
    help = "Publish the wheels of a folder in the index of this plane, all of them or none (docs/packages.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="with SHA256SUMS; the folder of `make site` or its wheels")
        parser.add_argument(
            "--python", action="append", default=[], metavar="3.N", help="of the hosts; may be repeated; this host's"
        )
        parser.add_argument(
            "--platform",
            action="append",
            default=[],
            metavar="manylinux_2_N_ARCH",
            help="of the hosts; may be repeated; this host's",
        )
        parser.add_argument(
            "--accept", action="append", default=[], metavar="NAME", help="a name that may look like another"
        )
        parser.add_argument("--dry-run", action="store_true", help="check everything and publish nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        try:
            report = services.import_folder(
                actor=actor,
                folder=options["folder"],
                environments=build_environments(options["python"], options["platform"]),
                accepted=[normalize_name(name) for name in options["accept"]],
                dry_run=options["dry_run"],
            )
        except PlaneError as error:
            lines = [f"{entry['message']} {entry['hint'] or ''}".strip() for entry in error.errors]
            raise CommandError("\n".join(dict.fromkeys(lines)), returncode=2) from None
        what = "would be published" if options["dry_run"] else "published"
        self.stdout.write(f"{len(report.added)} wheels {what}, {report.bytes / 1e6:,.1f} MB.")
        if report.present:
            self.stdout.write(f"{len(report.present)} were there with the same bytes.")
        if report.ignored:
            self.stdout.write(f"Left aside, no wheels: {', '.join(report.ignored[:10])}")
