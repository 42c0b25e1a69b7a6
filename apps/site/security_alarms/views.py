"""The page of security alarms: what is open, what was acknowledged, and the thresholds."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import mark_list_view
from apps.platform.audit.list_export import export_list
from apps.site.security_alarms import queries, services
from apps.site.security_alarms.lists import ALARMS, build_alarms_table


@mark_list_view(ALARMS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_alarms(request: HttpRequest) -> HttpResponseBase:
    """/security-alarms: the open ones unless the query asks for others; POST acknowledges one or sets a rule."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "security_alarm.view")
    if request.method != "POST":
        if request.GET.get("format") == "csv":
            return export_list(actor, build_alarms_table(actor, request.GET))
        return render_page(request, actor)
    try:
        apply_form(request, actor)
    except (Conflict, Invalid) as error:
        return render_page(request, actor, error)
    return redirect("security_alarms:list")


def apply_form(request: HttpRequest, actor: Actor) -> None:
    sent = request.POST
    if "rule" in sent:
        services.set_rule(
            actor=actor,
            rule=sent["rule"],
            threshold=parse_number(sent.get("threshold", "")),
            minutes=parse_number(sent.get("minutes", "")),
            is_enabled=sent.get("is_enabled") == "on",
        )
        messages.success(request, _("The rule is set."))
    else:
        number = parse_number(sent.get("alarm", ""))
        services.acknowledge_alarm(actor=actor, pk=number, reason=sent.get("reason", ""))
        messages.success(request, _("Alarm %(number)d is acknowledged.") % {"number": number})


def parse_number(text: str) -> int:
    """A number of up to nine digits; 0 for anything else, which no limit admits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def render_page(request: HttpRequest, actor: Actor, error: Conflict | Invalid | None = None) -> HttpResponse:
    table = build_alarms_table(actor, request.GET)
    context: dict[str, Any] = {
        **table.build_context(),
        "nav": "audit",
        "open_alarms": queries.list_alarms(actor).count(),
        "rules": queries.list_rules(actor),
        "may_acknowledge": policy.is_allowed(actor, "security_alarm.acknowledge"),
        "may_set": policy.is_allowed(actor, "security_alarm.set_rule"),
        "error": error,
    }
    return render(request, "security_alarms/list.html", context, status=error.status if error else table.status)
