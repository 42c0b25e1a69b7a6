"""What people do with monitors."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.fleet.devices.queries import get_group
from apps.fleet.monitoring.limits import check_monitor
from apps.fleet.monitoring.models import Alarm, Monitor
from apps.fleet.monitoring.states import MonitorState
from apps.ml.observations.queries import get_source
from apps.ml.observations.services.batches import HOUR, floor_hour
from apps.ml.registry.queries import get_model
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, record
from apps.platform.calendars.services.schedules import build_grant
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_

MAX_MONITORS = 200  # of a project
FIELDS = (
    "name",
    "rule",
    "limit",
    "certainty",
    "reference",
    "window_hours",
    "lag_hours",
    "min_count",
    "silence_hours",
    "cooldown_hours",
    "watches_inputs",
    "drift_alpha",
    "drift_correction",
)
"""What may change. Another model, metric or source is another monitor: its windows would not be comparable."""


def create_monitor(
    *,
    actor: Actor,
    project: Project,
    name: str,
    model: str,
    metric: str,
    source: str = "",
    group: str = "",
    **rule: Any,
) -> Monitor:
    """Watch what a model answers, from now on.

    Raises Invalid for a field, NotFound for a model, source or group, Conflict `name_taken` or `too_many_monitors`.
    """
    require(actor, "monitor.create", project)
    now = get_database_now()
    monitor = Monitor(project=project, name=name.strip(), metric=metric, group=group, **rule)
    monitor.model = get_model(actor, project, model)
    monitor.source = get_source(actor, project, source) if source else None
    check_monitor(monitor)
    if group:
        get_group(actor, project, group)
    monitor.grant, monitor.created_by = build_grant(actor), actor.label[:200]
    monitor.watched_from = monitor.next_at = now
    monitor.evaluated_until = compute_start(monitor, now)
    try:
        with transaction.atomic():
            if Monitor.objects.filter(project=project).count() >= MAX_MONITORS:
                raise Conflict(
                    "This project has {limit} monitors, which is the limit.",
                    limit=MAX_MONITORS,
                    code="too_many_monitors",
                    field="name",
                    hint=N_("Delete one that is no longer needed."),
                )
            monitor.save()
            scope = {"model": model, "metric": metric, "source": source, "group": group}
            record(actor=actor, action="monitor.create", obj=monitor, after={**scope, **describe_fields(monitor)})
    except IntegrityError:
        raise build_name_conflict(monitor.name) from None
    return monitor


def update_monitor(*, actor: Actor, monitor: Monitor, **changes: Any) -> Monitor:
    """Change its name or rule; whoever changes it owns it from then on. Windows that were evaluated stay."""
    require(actor, "monitor.update", monitor)
    try:
        with transaction.atomic():
            locked = lock_monitor(monitor)
            before = describe_fields(locked)
            for field, value in changes.items():
                setattr(locked, field, value.strip() if field == "name" else value)
            check_monitor(locked)
            after = describe_fields(locked)
            different = {field for field in FIELDS if after[field] != before[field]}
            if not different:
                return locked
            locked.grant, locked.created_by = build_grant(actor), actor.label[:200]
            locked.save(update_fields=[*different, "grant", "created_by"])
            record(
                actor=actor,
                action="monitor.update",
                obj=locked,
                before={field: before[field] for field in different},
                after={field: after[field] for field in different},
            )
    except IntegrityError:
        raise build_name_conflict(str(changes.get("name", monitor.name))) from None
    return locked


def pause_monitor(*, actor: Actor, monitor: Monitor, reason: str = "") -> Monitor:
    """Evaluate nothing until it is resumed; the windows in between are not made up for."""
    require(actor, "monitor.pause", monitor)
    return change_state(monitor, MonitorState.PAUSED, actor=actor, reason=reason, next_at=None)


def resume_monitor(*, actor: Actor, monitor: Monitor) -> Monitor:
    """Go on with the window that has ended last. Silence counts from now."""
    require(actor, "monitor.resume", monitor)
    now = get_database_now()
    until = max(monitor.evaluated_until, compute_start(monitor, now))
    fields: dict[str, Any] = {"next_at": now, "watched_from": now, "evaluated_until": until}
    return change_state(monitor, MonitorState.ACTIVE, actor=actor, **fields)


def delete_monitor(*, actor: Actor, monitor: Monitor, reason: str = "") -> None:
    """Delete it with its windows. Raises Conflict `monitor_has_alarms`: these are kept, and so is what they are of."""
    require(actor, "monitor.delete", monitor)
    with transaction.atomic():
        locked = lock_monitor(monitor)
        if Alarm.objects.filter(monitor=locked).exists():
            raise Conflict(
                "The monitor {name!r} has opened alarms, which are kept.",
                name=locked.name,
                code="monitor_has_alarms",
                field="id",
                hint=N_("Pause it."),
            )
        record(actor=actor, action="monitor.delete", obj=locked, reason=reason, before=describe_fields(locked))
        Monitor.objects.filter(pk=locked.pk).delete()


def lock_monitor(monitor: Monitor) -> Monitor:
    """The row, locked: its windows and alarms come one after the other."""
    rows = Monitor.objects.select_for_update(of=("self",)).select_related("project", "model", "source")
    return rows.get(pk=monitor.pk)


def compute_start(monitor: Monitor, now: datetime) -> datetime:
    """The end of the window before the first that is evaluated."""
    return floor_hour(now) - timedelta(hours=monitor.lag_hours) - HOUR


def describe_fields(monitor: Monitor) -> dict[str, Any]:
    return {name: getattr(monitor, name) for name in FIELDS}


def build_name_conflict(name: str) -> Conflict:
    return Conflict(
        "There is a monitor {name!r} already.",
        name=name[:60],
        code="name_taken",
        field="name",
        hint=N_("Choose another name."),
    )
