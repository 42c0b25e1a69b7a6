"""Pages of emergency access: who has it and who asks for it, one grant, and the forms that ask, confirm and end."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed, require
from apps.core.request_values import parse_int
from apps.platform.accounts.factors.views import ask_for_fresh_factor
from apps.platform.accounts.projects import get_project, get_visible_projects
from apps.platform.audit.list_export import export_list
from apps.platform.emergency import presenters, queries, services
from apps.platform.emergency.lists import GRANTS, build_grants_table

FIELDS = ("scope", "role", "hours", "reason")


@mark_list_view(GRANTS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_grants(request: HttpRequest) -> HttpResponseBase:
    """/emergency: grants and requests; the form asks for one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        if request.GET.get("format") == "csv":
            return export_list(actor, build_grants_table(actor, request.GET))
        return render_list(request, actor)
    sent = {name: request.POST.get(name, "")[:2100] for name in FIELDS}
    try:
        where = get_project(actor, sent["scope"]) if sent["scope"] else None
        grant = services.request_grant(
            actor=actor,
            project=where,
            role=sent["role"],
            reason=sent["reason"],
            hours=parse_int(sent["hours"], 0, 10_000) or 0,
        )
    except (Conflict, Invalid, NotFound) as error:
        field = (error.field or "").strip("/")
        fault = {field if field in FIELDS else "scope": str(translate_error(error))}
        return render_list(request, actor, sent, fault, error.status)
    messages.success(request, _("Requested. Another administrator confirms or refuses it."))
    return redirect("emergency:detail", grant.pk)


def render_list(
    request: HttpRequest,
    actor: Actor,
    sent: dict[str, str] | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    table = build_grants_table(actor, request.GET)
    context = {
        **table.build_context(),
        "in_force": queries.list_grants(actor).in_force().count(),
        "fields": build_fields(request, sent or {}, faults or {}) if is_allowed(actor, "emergency.request") else [],
        "key_slots": [key.slot for key in queries.list_current_keys()] if actor.system_role else None,
    }
    return render(request, "emergency/list.html", context, status=table.status if status == 200 else status)


def build_fields(request: HttpRequest, sent: dict[str, str], faults: dict[str, str]) -> list[dict[str, Any]]:
    scopes = [("", _("Plane")), *((project.slug, project.slug) for project in get_visible_projects(request))]
    roles = [
        ("engineer", _("Engineer")),
        ("approver", _("Approver")),
        ("viewer", _("Viewer")),
        ("system_admin", _("System administrator")),
        ("security_admin", _("Security administrator")),
    ]
    most = settings.ENV.emergency_hours
    controls: tuple[dict[str, Any], ...] = (
        {"label": _("Scope"), "control": "select", "choices": scopes},
        {"label": _("Role"), "control": "select", "choices": roles, "required": True},
        {"label": _("Hours"), "control": "number", "doc": _("1 to %(most)d.") % {"most": most}, "required": True},
        {
            "label": _("Reason"),
            "control": "textarea",
            "doc": _("Recorded in the audit trail as written."),
            "required": True,
        },
    )
    return [
        {
            "pointer": name,
            "value": sent.get(name, "1" if name == "hours" else ""),
            "error": faults.get(name, ""),
            **each,
        }
        for name, each in zip(FIELDS, controls, strict=True)
    ]


@require_safe
def show_grant(request: HttpRequest, pk: int) -> HttpResponse:
    """/emergency/<pk>: who, what, why, until when; the buttons of whoever may confirm or end it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    grant = queries.get_grant(actor, pk)
    status = grant.status
    context = {
        "grant": grant,
        "status": status,
        "state": presenters.STATES[status],
        "status_text": presenters.describe_status(status),
        "scope_text": presenters.describe_scope(grant),
        "may_confirm": status == "requested" and queries.can_confirm(actor, grant),
        "may_end": status in ("requested", "active") and queries.can_end(actor, grant),
        "may_read_trail": is_allowed(actor, "audit.view"),
    }
    return render(request, "emergency/detail.html", context)


@require_POST
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    grant = queries.get_grant(actor, pk)
    require(actor, "emergency.confirm")
    back = reverse("emergency:detail", args=[pk])
    if (answer := ask_for_fresh_factor(request, actor, "emergency.confirm", back=back)) is not None:
        return answer
    try:
        services.confirm_grant(actor=actor, grant=grant)
        messages.success(request, _("Confirmed: it is in force now."))
    except Conflict as error:
        messages.error(request, translate_error(error))
    return redirect("emergency:detail", pk)


@require_POST
def end(request: HttpRequest, pk: int) -> HttpResponseRedirect:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    grant = queries.get_grant(actor, pk)
    try:
        services.end_grant(actor=actor, grant=grant, reason=request.POST.get("reason", ""))
        messages.success(request, _("Ended: the rights are gone."))
    except (Conflict, Invalid) as error:
        messages.error(request, translate_error(error))
    if queries.list_grants(actor).filter(pk=pk).exists():
        return redirect("emergency:detail", pk)
    return redirect("emergency:list")
