"""The page of legal holds: members read what is held and why, the auditor places and releases."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from apps.platform.holds import queries, services
from apps.platform.holds.lists import HOLDS, build_holds_table, list_kind_choices

FIELDS = ("object_type", "object_id", "reason")


@mark_list_view(HOLDS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_holds(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/holds: what is in force, unless the query asks for what was released."""
    actor, where = get_project_context(request, project)
    if request.method != "POST" and request.GET.get("format") == "csv":
        return export_list(actor, build_holds_table(actor, where, request.GET), project=where)
    if request.method != "POST":
        return render_holds_page(request, actor, where)
    sent = {name: request.POST.get(name, "") for name in FIELDS}
    try:
        services.place_hold(actor=actor, project=where, **sent)
    except (Conflict, Invalid, NotFound) as error:
        return render_holds_page(request, actor, where, sent, {error.field or "reason": error.message}, error.status)
    messages.success(request, _("It is held: nothing deletes it for good until the hold is released."))
    return redirect("holds:list", project=where.slug)


@require_POST
def release(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    hold = queries.get_hold(actor, where, pk)
    try:
        services.release_hold(actor=actor, hold=hold, reason=request.POST.get("reason", ""))
        messages.success(request, _("The hold is released."))
    except (Conflict, Invalid) as error:
        messages.error(request, translate_error(error))
    return redirect("holds:list", project=where.slug)


def render_holds_page(
    request: HttpRequest,
    actor: Actor,
    where: Project,
    sent: dict[str, str] | None = None,
    wrong: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    table = build_holds_table(actor, where, request.GET)
    context = {
        **table.build_context(),
        "in_force": queries.list_holds(actor, where).count(),
        "fields": build_form_fields(sent or {}, wrong or {}) if is_allowed(actor, "hold.place", where) else [],
        "may_release": is_allowed(actor, "hold.release", where),
    }
    return render(request, "holds/list.html", context, status=table.status if status == 200 else status)


def build_form_fields(sent: dict[str, str], wrong: dict[str, str]) -> list[dict[str, Any]]:
    kinds = list_kind_choices()
    controls = (
        {"label": _("What is held"), "control": "select", "choices": kinds, "required": True},
        {"label": _("Its id"), "control": "text", "doc": _("Of an artifact its digest; of a project nothing.")},
        {"label": _("Why"), "control": "textarea", "required": True},
    )
    return [
        {"pointer": name, "value": sent.get(name, ""), "error": wrong.get(name, ""), **each}
        for name, each in zip(FIELDS, controls, strict=True)
    ]
