"""Pages of snapshots: all of them with what a recovery could count on, and one with what was done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.platform.audit.list_export import export_list
from apps.platform.audit.queries import get_timeline
from apps.site.snapshots import queries, services
from apps.site.snapshots.destinations import list_destinations
from apps.site.snapshots.lists import SNAPSHOTS, build_snapshots_table
from apps.site.snapshots.models import Snapshot
from apps.site.snapshots.presenters import LAMPS, build_operation_row, describe_drill
from apps.site.snapshots.services.requests import READABLE


@mark_list_view(SNAPSHOTS.key)
@require_safe
def show_snapshots(request: HttpRequest) -> HttpResponseBase:
    """/snapshots: every snapshot, with its age, verification and drill."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_snapshots_table(actor, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context: dict[str, Any] = {
        **table.build_context(),
        "rows": [build_row(row) for row in table.rows],
        "nav": "nodes",
        "recovery": queries.get_recovery_status(actor),
        "open_operations": [build_operation_row(row) for row in queries.list_operations(actor)],
        "destinations": list(list_destinations()),
        "is_scheduled": queries.has_schedule(actor),
        "may_create": is_allowed(actor, "snapshot.create"),
        "may_schedule": is_allowed(actor, "schedule.manage_plane"),
    }
    return render(request, "snapshots/list.html", context, status=table.status)


def build_row(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "snapshot": snapshot,
        "state": LAMPS[snapshot.state],
        "word": snapshot.get_state_display(),
        "drill": describe_drill(snapshot),
        "drill_state": LAMPS.get(getattr(snapshot, "drill_state", None) or "", "note"),
    }


@require_safe
def show_snapshot(request: HttpRequest, pk: int) -> HttpResponse:
    """/snapshots/<number>: figures, operations, and the audit trail of one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    snapshot = queries.get_snapshot(actor, pk)
    operations = queries.list_operations(actor, snapshot)[: queries.MAX_OPERATIONS]
    context = {
        "nav": "nodes",
        **build_row(snapshot),
        "operations": [build_operation_row(operation) for operation in operations],
        "events": get_timeline(actor, "snapshot", snapshot.pk),
        "may_read_trail": is_allowed(actor, "audit.view"),
        "may_act": is_allowed(actor, "snapshot.verify") and snapshot.state in READABLE,
    }
    return render(request, "snapshots/detail.html", context)


@require_POST
def create(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    destination = request.POST.get("destination", "")
    return act(
        request,
        lambda: services.request_snapshot(actor=actor, destination=destination),
        _("The snapshot is queued."),
        "snapshots:list",
    )


@require_POST
def verify(request: HttpRequest, pk: int) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    snapshot = queries.get_snapshot(actor, pk)
    return act(
        request,
        lambda: services.request_verification(actor=actor, snapshot=snapshot),
        _("The verification is queued."),
        "snapshots:detail",
        pk,
    )


@require_POST
def drill(request: HttpRequest, pk: int) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    snapshot = queries.get_snapshot(actor, pk)
    return act(
        request,
        lambda: services.request_drill(actor=actor, snapshot=snapshot),
        _("The restore drill is queued."),
        "snapshots:detail",
        pk,
    )


@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    snapshot, reason = queries.get_snapshot(actor, pk), request.POST.get("reason", "")[:2000]
    return act(
        request,
        lambda: services.request_removal(actor=actor, snapshot=snapshot, reason=reason),
        _("The removal is queued."),
        "snapshots:detail",
        pk,
    )


def act(request: HttpRequest, work: Callable[[], Any], done: str, page: str, *where: int) -> HttpResponse:
    """Ask for the operation and go back to the page, which says what came of it."""
    try:
        work()
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, done)
    return redirect(page, *where)
