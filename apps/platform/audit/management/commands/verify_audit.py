"""manage.py verify_audit [--json]: exit 0 when the trail is whole, 1 when it is broken."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.audit.verification import ALARM_SECONDS, Verification, verify_trail


class Command(BaseCommand):
    help = "Verify the audit trail; names the first bad record."
    requires_system_checks = []  # a plane whose triggers are gone is the very one to verify

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        found = verify_trail(actor=build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname()))
        text = json.dumps(found.as_dict()) if options["json"] else "\n".join(lines(found))
        self.stdout.write(text)
        if not found.whole:
            sys.exit(1)


def lines(found: Verification) -> list[str]:
    """The result for people, the answer first."""
    told = [
        f"BROKEN: {found.finding}" if found.finding else f"WHOLE: {found.sealed} records, in {found.seconds:.1f} s."
    ]
    told.append(f"Head: {found.head}")
    told.append(f"Unsealed: {found.unsealed.count}, the oldest {found.unsealed.oldest_seconds:.1f} s old.")
    if found.unsealed.alarm:
        told.append(f"ALARM: a record waits longer than {ALARM_SECONDS:g} s for its seal. Is the dispatcher running?")
    last = found.last_checkpoint or {}
    where = f"record {last.get('seq')}, {last.get('time')}, key {last.get('key_id')}" if last else "none yet"
    told.append(f"Last checkpoint: {where}; {found.checkpoints} in all.")
    return told + ([found.note] if found.note else [])
