"""manage.py export_audit --out DIR: the trail, its checkpoints, the public key and the program that checks them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.platform.audit.trail_export import start_export, write_folder


class Command(BaseCommand):
    help = "Export the audit trail into a folder that verifies itself anywhere: python verify.py DIR"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
        parser.add_argument("--from-seq", type=int, help="first record")
        parser.add_argument("--to-seq", type=int, help="last record; without it the newest")
        parser.add_argument("--project", help="slug: records of other projects are exported by digest only")
        parser.add_argument("--reason", default="", help="goes into the trail as written")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            export = start_export(
                actor=build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname()),
                from_seq=options["from_seq"],
                to_seq=options["to_seq"],
                project_id=find_project_id(options["project"]),
                reason=options["reason"],
            )
            manifest = write_folder(export, options["out"])
        except PlaneError as error:
            raise CommandError(f"{error.message} {error.hint or ''}".strip()) from None
        self.stdout.write(
            f"{manifest['records']} records, {manifest['from_seq']} to {manifest['to_seq']}, key {manifest['key_id']}."
        )
        self.stdout.write(f"Check it anywhere: python {options['out'] / 'verify.py'} {options['out']}")


def find_project_id(slug: str | None) -> int | None:
    """The id of a project; the trail lies below accounts and knows projects by number only."""
    if slug is None:
        return None
    project = apps.get_model("accounts", "Project").objects.filter(slug=slug).first()
    if project is None:
        raise CommandError(f"There is no project {slug!r}.")
    return int(project.pk)
