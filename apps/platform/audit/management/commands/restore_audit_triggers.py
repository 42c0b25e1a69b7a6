"""manage.py restore_audit_triggers: after audit.E001, once it is known who took them away."""

from __future__ import annotations

import socket
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.audit.services import record, seal_now
from apps.platform.audit.triggers import find_missing_triggers, install_triggers


class Command(BaseCommand):
    help = "Put the triggers of the audit trail back, and record that they were gone."
    requires_system_checks = []  # the check that fails is the one that this cures

    def handle(self, *args: Any, **options: Any) -> None:
        missing = find_missing_triggers(connection)
        if not missing:
            self.stdout.write("Every trigger is in place.")
            return
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        with transaction.atomic():
            install_triggers(connection)
            record(actor=actor, action="audit.restore_triggers", before={"missing": missing})
            seal_now()
        self.stdout.write(f"Put back: {', '.join(missing)}.")
