"""Set and remove the weekly window in which stock clients of a project install."""

from __future__ import annotations

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.gateways.hawkbit.models import MaintenanceWindow
from apps.gateways.hawkbit.schemas import WindowBody, parse_clock
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record

ACTION = "device.set_maintenance_window"


def set_window(*, actor: Actor, project: Project, body: WindowBody) -> MaintenanceWindow:
    """Let stock clients install in this window alone."""
    policy.require(actor, "device.set_maintenance_window", project)
    values = {
        "days": list(body.days),
        "start": parse_clock(body.start),
        "minutes": body.minutes,
        "time_zone": body.time_zone,
    }
    with transaction.atomic():
        before = MaintenanceWindow.objects.select_for_update().filter(pk=project.pk).first()
        old = before.as_document() if before else None
        row, _is_new = MaintenanceWindow.objects.update_or_create(
            project=project, defaults={**values, "set_by": actor.label[:200]}
        )
        if row.as_document() != old:
            record(actor=actor, action=ACTION, obj=row, before=old, after=row.as_document())
    return row


def remove_window(*, actor: Actor, project: Project) -> None:
    """Let them install at any time. NotFound where there is no window."""
    policy.require(actor, "device.set_maintenance_window", project)
    with transaction.atomic():
        row = MaintenanceWindow.objects.select_for_update().filter(pk=project.pk).first()
        if row is None:
            raise NotFound("This project has no maintenance window.")
        record(actor=actor, action=ACTION, obj=row, before=row.as_document())
        row.delete()
