"""manage.py export_audit --out DIR: the trail, its checkpoints, the public key and the program that checks them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Invalid, PlaneError
from apps.platform.audit.models import Result
from apps.platform.audit.query import parse_export_request
from apps.platform.audit.trail_export import start_export, write_folder

RANGE = {
    "from_seq": "first record; without it 1, or with filters the first that matches",
    "to_seq": "last record; without it the newest, or with filters the last that matches",
}
FILTERS = {  # by the names of the query string
    "actor": "name of a person, a service account or a part of the plane",
    "action": "job.submit; several between commas; a family with its dot (user.); or a part of names (approve)",
    "object_type": "type of the object, such as model",
    "object_id": "id of the object",
    "request": "request id: all that one call has written",
    "job": "number: what was done in the name of this job",
    "record": "number in the chain",
    "result": f"one of: {', '.join(Result.values)}",
    "from": "date or time, included; without an offset in the time zone of the plane",
    "to": "date (included) or time (excluded)",
}


class Command(BaseCommand):
    help = "Export the audit trail into a folder that verifies itself anywhere: python verify.py DIR"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
        for name, text in RANGE.items():
            parser.add_argument(build_option(name), metavar="N", help=text)
        parser.add_argument("--project", metavar="SLUG", help="records of other projects are exported by digest only")
        parser.add_argument("--reason", default="", help="goes into the trail as written")
        filters = parser.add_argument_group(
            "filters", "as the page Audit has them: the records that they leave are exported whole, others by digest"
        )
        for name, text in FILTERS.items():
            filters.add_argument(build_option(name), help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        names = ("project", "reason", *RANGE, *FILTERS)
        params = {name: str(value) for name in names if (value := options[name]) is not None}
        try:
            export = start_export(actor=actor, **parse_export_request(actor, params))
            manifest = write_folder(export, options["out"])
        except PlaneError as error:
            code = 2 if isinstance(error, Invalid) else 1
            text = f"{error.message} {error.hint or ''}".strip()
            raise CommandError(text, returncode=code) from None
        self.stdout.write(
            f"{manifest['records']} records, {manifest['from_seq']} to {manifest['to_seq']}, key {manifest['key_id']}."
        )
        self.stdout.write(f"Check it anywhere: python {options['out'] / 'verify.py'} {options['out']}")


def build_option(name: str) -> str:
    """`--object-type` for the parameter `object_type`."""
    return f"--{name.replace('_', '-')}"
