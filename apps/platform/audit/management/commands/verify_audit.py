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
        verification = verify_trail(actor=build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname()))
        text = json.dumps(verification.as_dict()) if options["json"] else "\n".join(format_report(verification))
        self.stdout.write(text)
        if not verification.whole:
            sys.exit(1)


def format_report(verification: Verification) -> list[str]:
    """The result for people, the answer first."""
    report_lines = [
        f"BROKEN: {verification.finding}"
        if verification.finding
        else f"WHOLE: {verification.sealed} records, in {verification.seconds:.1f} s."
    ]
    report_lines.append(f"Head: {verification.head}")
    report_lines.append(
        f"Unsealed: {verification.unsealed.count}, the oldest {verification.unsealed.oldest_seconds:.1f} s old."
    )
    if verification.unsealed.alarm:
        report_lines.append(
            f"ALARM: a record waits longer than {ALARM_SECONDS:g} s for its seal. Is the dispatcher running?"
        )
    last = verification.last_checkpoint or {}
    where = f"record {last.get('seq')}, {last.get('time')}, key {last.get('key_id')}" if last else "none yet"
    report_lines.append(f"Last checkpoint: {where}; {verification.checkpoints} in all.")
    return report_lines + ([verification.note] if verification.note else [])
