"""The list of monitors, and the form of a new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.policy import is_allowed, require
from apps.fleet.monitoring import queries
from apps.fleet.monitoring.forms import MonitorForm
from apps.fleet.monitoring.presenters import Row, get_state_choices, list_alarm_rows, summarize_monitors
from apps.fleet.monitoring.states import AlarmState
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

LISTED_ALARMS = 20  # that wait for somebody


def read_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["monitor"], name)


MONITORS = Listing(
    "monitors",
    (
        Column("name", gettext_lazy("Monitor"), read_field("name")),
        Column("state", gettext_lazy("State"), read_field("state")),
        Column("model", gettext_lazy("Model"), lambda row: row["monitor"].model.name),
        Column("metric", gettext_lazy("Metric"), lambda row: row["metric"]),
        Column("value", gettext_lazy("Last window"), lambda row: row["last"] and row["last"]["value"], numeric=True),
        Column("verdict", gettext_lazy("Verdict"), lambda row: row["last"] and row["last"]["window"].verdict),
        Column("alarms", gettext_lazy("Alarms"), lambda row: row["open"] + row["acknowledged"], numeric=True),
        Column("owner", gettext_lazy("Owner"), read_field("created_by"), default_visible=False),
        Column("made", gettext_lazy("Created"), read_field("created_at"), ("id",), down=True),
    ),
    sort="-made",
)


@mark_list_view(MONITORS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_monitors(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/monitors: newest first; a POST creates one."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        return render_monitors(request, actor, where, MonitorForm(where))
    require(actor, "monitor.create", where)
    form = MonitorForm(where, request.POST)
    monitor = form.create(actor)
    if monitor is None:
        return render_monitors(request, actor, where, form, status=422)
    messages.success(request, _("The monitor %(name)s is created.") % {"name": monitor.name})
    return redirect("monitoring:monitor", project=where.slug, pk=monitor.pk)


def render_monitors(
    request: HttpRequest, actor: Actor, where: Project, form: MonitorForm, status: int = 200
) -> HttpResponseBase:
    filters = read_filter_values(request.GET, ("state", "model"))
    table = build_table(
        MONITORS,
        request.GET,
        lambda: queries.list_monitors(actor, where, **filters),
        filters=[
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": get_state_choices()},
            {"name": "model", "label": _("Model"), "value": filters["model"]},
        ],
        transform_rows=summarize_monitors,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    waiting = queries.list_alarms(actor, where, state=AlarmState.OPEN).order_by("-id")
    context = {
        **table.build_context(),
        "nav": "monitoring",
        "count": queries.list_monitors(actor, where).count(),
        "open_alarms": list_alarm_rows(list(waiting[:LISTED_ALARMS])),
        "may_create": is_allowed(actor, "monitor.create", where),
        "form": form,
    }
    return render(request, "monitoring/list.html", context, status=table.status if status == 200 else status)
