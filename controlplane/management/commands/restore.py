"""manage.py restore FOLDER: an empty plane becomes the one of a backup."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand
from apps.site.snapshots.restore import restore
from controlplane.startup_checks import CannotStart, make_folders, ready_database


class Command(OperatorCommand):
    help = (
        "Restore a backup into an empty home and an empty database; checks every byte and the audit trail. "
        "Replaces nothing: what is not empty is refused."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder that `backup` wrote")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            restored = restore(
                actor=self.actor,
                source=options["folder"],
                make_folders=partial(make_folders, settings.ENV),
                migrate=partial(ready_database, migrate=True),
                say=self.stdout.write,
            )
        except CannotStart as reason:
            self.stderr.write(str(reason))
            sys.exit(2)
        manifest = restored.manifest
        self.stdout.write(
            f"Restored the plane of {manifest.made_at}. Its audit trail is whole: {restored.trail.sealed} records."
        )
        for digest in manifest.missing:
            self.stdout.write(f"Not in the backup, since it was damaged then: {digest}")
