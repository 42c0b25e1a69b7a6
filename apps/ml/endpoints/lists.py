"""The list of endpoints, and the form of a new one."""

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
from apps.ml.endpoints import queries
from apps.ml.endpoints.forms import EndpointForm
from apps.ml.endpoints.presenters import Row, summarize_endpoints
from apps.ml.endpoints.states import EndpointState
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list


def read_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["endpoint"], name)


def read_key(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


ENDPOINTS = Listing(
    "endpoints",
    (
        Column("name", gettext_lazy("Endpoint"), read_field("name")),
        Column("state", gettext_lazy("State"), read_field("state")),
        Column("serves", gettext_lazy("Serves"), read_key("serves")),
        Column("servers", gettext_lazy("Servers"), read_key("servers"), numeric=True),
        Column("rate", gettext_lazy("Requests/s"), read_key("rate"), numeric=True),
        Column("p95", gettext_lazy("p95"), read_key("p95_ms"), numeric=True),
        Column("made", gettext_lazy("Created"), read_field("created_at"), ("id",), down=True),
    ),
    sort="-made",
)


@mark_list_view(ENDPOINTS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_endpoints(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/endpoints: newest first; a POST creates one."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        return render_endpoints(request, actor, where, EndpointForm(where))
    require(actor, "endpoint.create", where)
    form = EndpointForm(where, request.POST)
    endpoint = form.save(actor)
    if endpoint is None:
        return render_endpoints(request, actor, where, form, status=422)
    messages.success(request, _("The endpoint %(name)s is created.") % {"name": endpoint.name})
    return redirect("endpoints:detail", project=where.slug, name=endpoint.name)


def render_endpoints(
    request: HttpRequest, actor: Actor, where: Project, form: EndpointForm, status: int = 200
) -> HttpResponseBase:
    filters = read_filter_values(request.GET, queries.FILTERS)
    states = [("", _("Every state")), *((value, str(word)) for value, word in EndpointState.choices)]
    table = build_table(
        ENDPOINTS,
        request.GET,
        lambda: queries.list_endpoints(actor, where, **filters),
        filters=[
            {"name": "name", "label": _("Name"), "value": filters["name"]},
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states[:-1]},
            {"name": "model", "label": _("Model"), "value": filters["model"]},
        ],
        transform_rows=summarize_endpoints,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "endpoints",
        "count": queries.list_endpoints(actor, where).count(),
        "may_create": is_allowed(actor, "endpoint.create", where),
        "form": form,
    }
    return render(request, "endpoints/list.html", context, status=table.status if status == 200 else status)
