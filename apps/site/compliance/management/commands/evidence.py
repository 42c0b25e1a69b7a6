"""manage.py evidence --out DIR: probe every clause now, and write the folder that an assessor checks alone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.site.compliance.evidence import make_evidence, run_queued


class Command(BaseCommand):
    help = "Probe every clause of MLPS level 3 and write the evidence into a folder: python verify.py DIR checks it"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--out", type=Path, help="a folder that does not exist yet")
        where.add_argument("--queued", action="store_true", help="make the runs that were asked for in the browser")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        if options["queued"]:
            run_queued(actor)
            return
        target = options["out"].absolute()
        try:
            run, folder = make_evidence(actor=actor, target=target)
        except PlaneError as error:
            raise CommandError(f"{error.message} {error.hint or ''}".strip(), returncode=2) from None
        self.stdout.write(
            f"Run {run.pk}: {run.met} met, {run.partly} partly, {run.not_met} not met,"
            f" {run.not_applicable} not applicable; {len(folder.digests)} files."
        )
        self.stdout.write(f"Check it anywhere: python {target / 'verify.py'} {target}")
