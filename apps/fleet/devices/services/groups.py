"""Groups of devices: saved queries."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.fleet.devices.filters import parse_query
from apps.fleet.devices.models import DeviceGroup
from apps.fleet.devices.schemas import DeviceGroupBody, DeviceGroupChanges
from apps.ml.registry.services.validation import check_name
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from deepseek.messages import N_


def create_group(*, actor: Actor, project: Project, body: DeviceGroupBody) -> DeviceGroup:
    """Save a query under a name. Raises Invalid for one that cannot be read, Conflict `name_taken`."""
    require(actor, "device.save_group", project)
    check_name("name", body.name)
    parse_query(body.query, field="query")
    try:
        with transaction.atomic():
            group = DeviceGroup.objects.create(project=project, created_by=actor.label[:200], **body.model_dump())
            record(actor=actor, action="device.create_group", obj=group, after=body.model_dump())
    except IntegrityError:
        raise Conflict(
            "There is a group {name!r} already.",
            name=body.name,
            code="name_taken",
            field="name",
            hint=N_("Choose another name."),
        ) from None
    return group


def update_group(*, actor: Actor, group: DeviceGroup, changes: DeviceGroupChanges) -> DeviceGroup:
    """Change the query or the description; what is left out stays."""
    require(actor, "device.save_group", group)
    if changes.query is not None:
        parse_query(changes.query, field="query")
    with transaction.atomic():
        locked = DeviceGroup.objects.select_for_update().get(pk=group.pk)
        new = {name: value for name, value in changes.model_dump().items() if value is not None}
        before: dict[str, Any] = {name: getattr(locked, name) for name in new if getattr(locked, name) != new[name]}
        if before:
            after = {name: new[name] for name in before}
            DeviceGroup.objects.filter(pk=locked.pk).update(**after)
            record(actor=actor, action="device.update_group", obj=locked, before=before, after=after)
    locked.refresh_from_db()
    return locked


def delete_group(*, actor: Actor, group: DeviceGroup) -> None:
    """Forget the query; devices stay as they are."""
    require(actor, "device.delete_group", group)
    with transaction.atomic():
        before = {"name": group.name, "query": group.query}
        record(actor=actor, action="device.delete_group", obj=group, before=before)
        DeviceGroup.objects.filter(pk=group.pk).delete()
