"""What pages and REST read of monitors and alarms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.fleet.monitoring.models import Alarm, AlarmQuerySet, DriftWindow, Monitor, MonitorQuerySet, Window
from apps.fleet.monitoring.states import AlarmState, DriftVerdict, MonitorState, Verdict
from apps.platform.accounts.models import Project

MAX_ID = 2**63 - 1
CHART_COLUMNS = ("until", "verdict", "value", "low", "high", "reference", "line")


def list_monitors(actor: Actor, project: Project, *, state: str = "", model: str = "") -> MonitorQuerySet:
    """The monitors of the project; Invalid for an unknown state."""
    policy.require(actor, "monitor.view", project)
    validate_choice("state", state, MonitorState.values)
    rows = Monitor.objects.visible_to(actor).filter(project=project)
    rows = rows.select_related("project", "model", "source", "retraining_plan__dataset")
    narrow = {"state": state, "model__name": model}
    return rows.filter(**{field: value for field, value in narrow.items() if value})


def get_monitor(actor: Actor, project: Project, pk: int) -> Monitor:
    """The monitor `pk` of this project; NotFound."""
    monitor = list_monitors(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if monitor is None:
        raise NotFound("This project has no monitor {pk}.", pk=pk, field="id")
    return monitor


def list_windows(monitor: Monitor, *, verdict: str = "") -> QuerySet[Window]:
    """The windows of a monitor that the caller may see, to be paged by `-until`; Invalid for an unknown verdict."""
    validate_choice("verdict", verdict, Verdict.values)
    rows = Window.objects.filter(monitor=monitor).select_related("version")
    return rows.filter(verdict=verdict) if verdict else rows


def list_drift_windows(monitor: Monitor, *, verdict: str = "") -> QuerySet[DriftWindow]:
    """How the features of a monitor that the caller may see have drifted, to be paged by `-until`."""
    validate_choice("verdict", verdict, DriftVerdict.values)
    rows = DriftWindow.objects.filter(monitor=monitor).select_related("version")
    return rows.filter(verdict=verdict) if verdict else rows


def list_chart_points(monitor: Monitor, days: int) -> list[Any]:
    """CHART_COLUMNS of the windows of the last days before the newest, oldest first, by name: of 90 days there are
    2,160."""
    rows = Window.objects.filter(monitor=monitor, until__gt=monitor.evaluated_until - timedelta(days=days))
    return list(rows.order_by("until").values_list(*CHART_COLUMNS, named=True))


def list_alarms(actor: Actor, project: Project, *, state: str = "", monitor: int | None = None) -> AlarmQuerySet:
    """The alarms of the project; Invalid for an unknown state."""
    policy.require(actor, "monitor.view", project)
    validate_choice("state", state, AlarmState.values)
    rows = Alarm.objects.visible_to(actor).filter(project=project)
    rows = rows.select_related("project", "monitor__model", "monitor__source", "retraining")
    narrow = {"state": state, "monitor": monitor}
    return rows.filter(**{field: value for field, value in narrow.items() if value})


def get_alarm(actor: Actor, project: Project, pk: int) -> Alarm:
    alarm = list_alarms(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if alarm is None:
        raise NotFound("This project has no alarm {pk}.", pk=pk, field="id")
    return alarm


def load_last_windows(monitors: Sequence[Monitor]) -> dict[int, Window]:
    """{monitor: its last window}, in one query that reads one row of each."""
    newest = Window.objects.filter(monitor=OuterRef("pk")).order_by("-until").values("pk")[:1]
    chosen = Monitor.objects.filter(pk__in=[monitor.pk for monitor in monitors])
    rows = Window.objects.filter(pk__in=chosen.annotate(newest=Subquery(newest)).values("newest"))
    return {row.monitor_id: row for row in rows}


def count_active_alarms(monitors: Sequence[Monitor]) -> dict[int, dict[str, int]]:
    """{monitor: {state: alarms}} of those that are not closed."""
    rows = Alarm.objects.filter(~Q(state=AlarmState.CLOSED), monitor__in=[monitor.pk for monitor in monitors])
    counts: dict[int, dict[str, int]] = {}
    for monitor, state, count in rows.order_by().values_list("monitor", "state").annotate(count=Count("pk")):
        counts.setdefault(monitor, {})[state] = count
    return counts
