"""Pages of recertification: campaigns, the grants of one, and the forms that start, decide and close."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.core.request_values import parse_int
from apps.platform.audit.bulk_actions import get_return_url, parse_numeric_ids
from apps.platform.audit.list_export import export_list
from apps.platform.recertification import queries, services
from apps.platform.recertification.lists import CAMPAIGNS, REVIEWS, build_campaigns_table, build_reviews_table
from apps.platform.recertification.models import Decision

FIELDS = ("name", "days")


@mark_list_view(CAMPAIGNS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_campaigns(request: HttpRequest) -> HttpResponseBase:
    """/recertification: the campaigns; the form starts one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    sent: dict[str, str] = {}
    faults: dict[str, str] = {}
    status = 200
    if request.method == "POST":
        sent = {name: request.POST.get(name, "")[:200] for name in FIELDS}
        try:
            days = parse_int(sent["days"], 0, 10_000) or 0
            campaign = services.start_campaign(actor=actor, name=sent["name"], days=days)
            return redirect("recertification:campaign", campaign.pk)
        except (Conflict, Invalid) as error:
            field = (error.field or "").strip("/")
            faults, status = {field if field in FIELDS else "name": str(translate_error(error))}, error.status
    table = build_campaigns_table(actor, request.GET)
    if request.method != "POST" and request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {
        **table.build_context(),
        "nav": "people",
        "fields": build_fields(sent, faults) if is_allowed(actor, "recertification.start") else [],
    }
    return render(request, "recertification/list.html", context, status=status if faults else table.status)


def build_fields(sent: dict[str, str], faults: dict[str, str]) -> list[dict[str, Any]]:
    controls: tuple[dict[str, Any], ...] = (
        {"label": _("Name"), "control": "text", "required": True},
        {"label": _("Days until it is due"), "control": "number", "required": True},
    )
    usual = {"days": "30"}
    return [
        {"pointer": name, "value": sent.get(name, usual.get(name, "")), "error": faults.get(name, ""), **each}
        for name, each in zip(FIELDS, controls, strict=True)
    ]


@mark_list_view(REVIEWS.key)
@require_safe
def show_campaign(request: HttpRequest, pk: int) -> HttpResponseBase:
    """/recertification/<pk>: its grants, paged and filtered; reviewers confirm and revoke here."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = queries.get_campaign(actor, pk)
    table = build_reviews_table(actor, campaign, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    counts = queries.count_decisions(actor, campaign)
    context = {
        **table.build_context(),
        "nav": "people",
        "campaign": campaign,
        "counts": counts,
        "total": counts["pending"] + counts["confirmed"] + counts["revoked"] + counts["suspended"],
        "may_decide": bool(counts["mine"]) and campaign.closed_at is None,
        "may_close": campaign.closed_at is None and is_allowed(actor, "recertification.close"),
    }
    return render(request, "recertification/campaign.html", context, status=table.status)


@require_POST
def decide(request: HttpRequest, pk: int) -> HttpResponseRedirect:
    """`do` confirmed or revoked: the selected grants; confirm_all: every open one that is the reader's to decide."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = queries.get_campaign(actor, pk)
    rows, decision = None, request.POST.get("do", "")[:20]
    if decision == "confirm_all":
        decision = Decision.CONFIRMED
    else:
        rows = queries.list_reviews(actor, campaign).filter(pk__in=parse_numeric_ids(request))
    try:
        count = services.decide_grants(
            actor=actor,
            campaign=campaign,
            rows=rows,
            decision=decision,
            reason=request.POST.get("reason", "")[:2100],
        )
        messages.success(
            request, ngettext("%(count)d grant decided.", "%(count)d grants decided.", count) % {"count": count}
        )
    except (Conflict, Invalid) as error:
        messages.error(request, translate_error(error))
    return HttpResponseRedirect(get_return_url(request, reverse("recertification:campaign", args=[pk])))


@require_POST
def close(request: HttpRequest, pk: int) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = queries.get_campaign(actor, pk)
    try:
        services.close_campaign(actor=actor, campaign=campaign, reason=request.POST.get("reason", ""))
        messages.success(request, _("The campaign is closed."))
    except Conflict as error:
        messages.error(request, translate_error(error))
    return redirect("recertification:campaign", pk)
