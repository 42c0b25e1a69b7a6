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


def age(text: str) -> timedelta:
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
            "--older-than", type=age, default="7d", help="spare what came within this time (default %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        done = collect_garbage(actor=self.actor, older_than=options["older_than"], dry_run=options["dry_run"])
        for one in done.gone:
            self.stdout.write(f"{one.digest} {one.size} {'uncited' if one.known else 'unnamed'}")
        word = "would go" if options["dry_run"] else "are gone"
        self.stderr.write(f"{len(done.gone):,} artifacts of {done.bytes:,} bytes {word}.")
        if done.kept:
            self.stderr.write(f"{len(done.kept):,} were cited or sent again meanwhile, and stay.")
