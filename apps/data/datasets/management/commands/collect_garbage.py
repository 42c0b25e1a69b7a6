"""manage.py collect_garbage [--dry-run] [--older-than 7d]"""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from apps.core.errors import Invalid
from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.gc_preview import read_age


def parse_age(text: str) -> timedelta:
    try:
        return read_age(text)
    except Invalid as error:
        raise ArgumentTypeError(f"{error.message[:-1]}: a number with d, h or m, for instance 7d") from None


class Command(OperatorCommand):
    help = (
        "Remove the artifacts that nothing cites: no dataset version, job, run, model, nor anything else; and bytes in "
        "the store that no artifact names. Prints what goes, a line each: digest, bytes, why. The plane may be running."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="list what would go, and remove nothing")
        parser.add_argument(
            "--older-than", type=parse_age, default="7d", help="spare what came within this time (default %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        result = collect_garbage(actor=self.actor, older_than=options["older_than"], dry_run=options["dry_run"])
        for artifact in result.gone:
            self.stdout.write(f"{artifact.digest} {artifact.size} {'uncited' if artifact.known else 'unnamed'}")
        word = "would go" if options["dry_run"] else "are gone"
        self.stderr.write(f"{len(result.gone):,} artifacts of {result.bytes:,} bytes {word}.")
        if result.kept:
            self.stderr.write(f"{len(result.kept):,} were cited or sent again meanwhile, and stay.")
