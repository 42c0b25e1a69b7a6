"""manage.py rotate_store_key [--new-data-key] [--encrypt]"""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.artifacts.services.encryption import KeyRotation, rotate_store_keys

REPORT_SECONDS = 5.0


class Command(OperatorCommand):
    help = (
        "Wrap the data keys of the encrypted artifact store by the first of ENCRYPTION_KEYS; the former key is not "
        "needed any more then. The plane may be running, and a run that was killed goes on when it is started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--new-data-key", action="store_true", help="also make a new data key")
        parser.add_argument(
            "--encrypt", action="store_true", help="also encrypt each object that is not under the newest data key"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.reported = time.monotonic()
        rotation = rotate_store_keys(
            actor=self.actor, new_data_key=options["new_data_key"], encrypt=options["encrypt"], report=self.report
        )
        self.stdout.write(
            f"{rotation.wrapped:,} data keys wrapped,"
            f" {rotation.encrypted:,} objects of {rotation.bytes:,} bytes encrypted."
        )
        if rotation.damaged:
            self.stderr.write(f"{len(rotation.damaged):,} objects are damaged, and stay as they are:")
            for digest in rotation.damaged[:10]:
                self.stderr.write(f"  {digest}")
        for area, count in rotation.left.items():
            self.stderr.write(f"{count:,} objects of {area} are not under the newest data key.")
        if rotation.set_aside:
            self.stderr.write(f"{rotation.set_aside:,} damaged files lie in plain in the folder damaged of the store.")
        if not rotation.is_whole:
            sys.exit(1)

    def report(self, rotation: KeyRotation) -> None:
        if time.monotonic() - self.reported >= REPORT_SECONDS:
            self.reported = time.monotonic()
            self.stderr.write(f"{rotation.encrypted:,} objects, {rotation.bytes:,} bytes")
