"""What home shows of finished work and of models that serve: recent runs, models in production, open alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.fleet.devices.models import DeviceCount
from apps.fleet.monitoring.models import Alarm
from apps.fleet.monitoring.states import AlarmState
from apps.fleet.releases.models import Release
from apps.fleet.rollouts.models import Rollout
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.states import EndpointState
from apps.ml.experiments.models import Run
from apps.ml.registry.models import Alias, AliasMove
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.models import Project
from apps.site.security_alarms.models import SecurityAlarm
from apps.site.security_alarms.rules import RULES
from apps.site.security_alarms.states import AlarmState as SecurityAlarmState

RUNS_SHOWN, MODELS_SHOWN, ALARMS_SHOWN = 6, 8, 5
MAX_PROJECTS_READ = 20  # in whose newest rows is looked, one index range for each


def list_project_ids(actor: Actor, project: Project | None) -> list[int]:
    """The projects whose rows home shows; none of a project that the reader only administers."""
    own = sorted(actor.project_ids)[:MAX_PROJECTS_READ]
    return own if project is None else [pk for pk in (project.pk,) if pk in actor.project_ids]


def select_newest(rows: QuerySet[Any], projects: Sequence[int], order: Sequence[str], count: int) -> QuerySet[Any]:
    """Keys of the newest of these rows over the projects. Each project is read by its own index range: sorting all
    rows of several projects would take longer the more there are.
    """
    table = rows.model.objects  # type: ignore[attr-defined]
    parts = [
        table.filter(pk__in=rows.filter(project=pk).order_by(*order).values("pk")[:count]).values("pk")
        for pk in projects
    ]
    if not parts:
        return rows.none().values("pk")
    newest = parts[0] if len(parts) == 1 else parts[0].union(*parts[1:])
    return table.filter(pk__in=newest).order_by(*order).values("pk")[:count]


def load_recent_runs(actor: Actor, project: Project | None) -> list[Run]:
    """The runs that began last, each with the figure that counts as `headline` (None: it measured nothing)."""
    order = ("-started_at", "-id")
    keys = select_newest(Run.objects.visible_to(actor).active(), list_project_ids(actor, project), order, RUNS_SHOWN)
    runs = list(Run.objects.filter(pk__in=keys).select_related("project").defer("environment").order_by(*order))
    for run in runs:
        metrics = run.figures.get("metrics") or []
        run.headline = metrics[0] if metrics else None  # type: ignore[attr-defined]
    return runs


def load_production_models(actor: Actor, project: Project | None) -> list[Alias]:
    """Models in production, the newest promotion first: since when, and the state of their endpoint and devices.

    Each has `since`, `endpoint_name`, `endpoint_state`, `devices`, `rollout_id`, `rollout_state` and `alarms`.
    """
    moves = AliasMove.objects.filter(model=OuterRef("model"), alias=PRODUCTION).order_by("-id")
    rows = Alias.objects.filter(
        name=PRODUCTION, model__project__in=list_project_ids(actor, project), model__deleted_at=None
    ).annotate(since=Subquery(moves.values("at")[:1]))
    chosen = rows.order_by("-since", "-pk").values("pk")[:MODELS_SHOWN]
    endpoints = Endpoint.objects.filter(model=OuterRef("model"), alias=PRODUCTION)
    endpoints = endpoints.exclude(state=EndpointState.DELETED).order_by("-pk")
    releases = Release.objects.filter(variant__version=OuterRef(OuterRef("version"))).values("pk")
    devices = DeviceCount.objects.filter(project=OuterRef("model__project"), release_id__in=releases)
    rollouts = Rollout.objects.filter(version=OuterRef("version")).order_by("-pk")
    alarms = Alarm.objects.filter(monitor__model=OuterRef("model")).exclude(state=AlarmState.CLOSED)
    return list(
        rows.filter(pk__in=chosen)
        .annotate(
            endpoint_name=Subquery(endpoints.values("name")[:1]),
            endpoint_state=Subquery(endpoints.values("state")[:1]),
            devices=Coalesce(Subquery(devices.order_by().values("project").annotate(n=Sum("devices")).values("n")), 0),
            rollout_id=Subquery(rollouts.values("pk")[:1]),
            rollout_state=Subquery(rollouts.values("state")[:1]),
            alarms=Coalesce(
                Subquery(alarms.order_by().values("monitor__model").annotate(n=Count("pk")).values("n")), 0
            ),
        )
        .select_related("model__project", "version")
        .defer("version__document", "version__description")
        .order_by("-since", "-pk")
    )


def load_alarms(actor: Actor, project: Project | None) -> list[Alarm]:
    """Alarms of monitors that nobody has closed, the unread first, then the newest."""
    rows = Alarm.objects.visible_to(actor).filter(project__in=list_project_ids(actor, project))
    rows = rows.filter(state__in=(AlarmState.OPEN, AlarmState.ACKNOWLEDGED)).select_related("project", "monitor__model")
    return list(rows.defer("evidence").order_by("-state", "-opened_at", "-pk")[:ALARMS_SHOWN])


def load_security_alarms(actor: Actor) -> list[SecurityAlarm]:
    """Open alarms of the audit trail, for those who may see them; no query for the others."""
    if not is_allowed(actor, "security_alarm.view"):
        return []
    rows = SecurityAlarm.objects.visible_to(actor).filter(state=SecurityAlarmState.OPEN)
    alarms = list(rows.order_by("-last_at", "-pk")[:ALARMS_SHOWN])
    for alarm in alarms:
        alarm.label = RULES[alarm.rule].label if alarm.rule in RULES else alarm.rule  # type: ignore[attr-defined]
    return alarms
