"""manage.py backup FOLDER [--since EARLIER]: database, objects and keys, of a plane that may be running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand
from apps.site.snapshots.backup import create_backup

SHOWN = 10


class Command(OperatorCommand):
    help = (
        "Back the plane up into a folder: the database as of one moment, every object that it names, and the keys. "
        "The plane may be running. `sha256sum --check SHA256SUMS` in the folder verifies it. The folder holds keys: "
        "guard it as you guard the plane."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
        parser.add_argument("--since", type=Path, help="an earlier backup on the same disk: its objects are linked")

    def handle(self, *args: Any, **options: Any) -> None:
        snapshot = create_backup(actor=self.actor, out=options["folder"], since=options["since"], say=self.stdout.write)
        manifest = snapshot.manifest
        self.stdout.write(
            f"{snapshot.folder}: {manifest.artifacts} objects, {manifest.artifact_bytes:,} bytes,"
            f" {snapshot.linked} of them linked; the audit trail up to record {manifest.audit.get('seq', 0)}."
        )
        if manifest.missing:
            self.stderr.write(
                f"{len(manifest.missing)} objects are damaged or gone in the store, and not in the backup:"
            )
            for digest in manifest.missing[:SHOWN]:
                self.stderr.write(f"  {digest}")
            sys.exit(1)
