"""manage.py import_conflicts FILE --keys FILE: known hardware conflicts of the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.core.errors import Invalid
from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.nodes.health.conflicts import import_conflict_rules
from deepseek.messages import N_

MAX_FILE_BYTES = 4 << 20


class Command(OperatorCommand):
    help = "Import a signed file of known hardware conflicts, in place of the one before (docs/doctor.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a DSSE envelope with the rules")
        parser.add_argument("--keys", type=Path, required=True, help="a public key (base64) on each line: who may sign")

    def handle(self, *args: Any, **options: Any) -> None:
        content, keys = (read_file(options[name], name) for name in ("file", "keys"))
        row = import_conflict_rules(
            actor=self.actor, content=content, keys=keys.decode("ascii", "replace"), name=options["file"].name
        )
        signers = ", ".join(row.key_ids)
        self.stdout.write(f"Imported {len(row.rules)} rules, version {row.version}, signed by {signers}.")


def read_file(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Invalid(
            "{path} cannot be read: {reason}.", path=str(path), reason=str(error.strerror), field=field.upper()
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise Invalid(
            "{path} is too long.",
            path=str(path),
            field=field.upper(),
            limit=f"{MAX_FILE_BYTES} bytes",
            hint=N_("Name another file."),
        )
    return content
