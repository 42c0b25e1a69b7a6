"""manage.py rotate_column_key"""

from __future__ import annotations

import sys
from typing import Any

from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.accounts.services.column_keys import rotate_column_keys


class Command(OperatorCommand):
    help = (
        "Encrypt the columns that hold secrets again, under the first of ENCRYPTION_KEYS (or SECRET_KEY) and the "
        "cipher of COLUMN_CIPHER. The plane may be running; a run that was killed goes on when it is started again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        encrypted, unreadable = rotate_column_keys(actor=self.actor)
        for name, count in sorted(encrypted.items()):
            self.stdout.write(f"{name}: {count:,} encrypted")
        if not encrypted:
            self.stdout.write("Everything was under the active key.")
        for name, count in sorted(unreadable.items()):
            self.stderr.write(f"{name}: {count:,} under a key that is not configured")
        if unreadable:
            sys.exit(1)
