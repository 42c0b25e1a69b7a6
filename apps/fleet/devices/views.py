"""The page of one device: what it runs, how it is, and what may be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.messages import translate_message
from apps.core.policy import is_allowed, require
from apps.fleet.devices import presenters, queries, services
from apps.fleet.devices.forms import AssignForm, DeviceForm
from apps.fleet.devices.models import Device
from apps.fleet.devices.states import DeviceState
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline


@require_safe
def show_device(request: HttpRequest, project: str, device: int) -> HttpResponse:
    """/p/<slug>/devices/<number>."""
    actor, where = get_project_context(request, project)
    return render_device(request, actor, queries.get_device(actor, where, device))


@require_POST
def change_device(request: HttpRequest, project: str, device: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    row = queries.get_device(actor, where, device)
    require(actor, "device.change", row)
    form = DeviceForm(row, request.POST)
    if form.save(actor) is None:
        return render_device(request, actor, row, form=form, status=422)
    messages.success(request, _("The device is changed."))
    return redirect("devices:detail", project=where.slug, device=device)


@require_POST
def quarantine(request: HttpRequest, project: str, device: int) -> HttpResponseRedirect:
    return move(request, project, device, services.quarantine_device)


@require_POST
def reinstate(request: HttpRequest, project: str, device: int) -> HttpResponseRedirect:
    return move(request, project, device, services.reinstate_device)


@require_POST
def revoke(request: HttpRequest, project: str, device: int) -> HttpResponseRedirect:
    return move(request, project, device, services.revoke_device)


@require_POST
def assign(request: HttpRequest, project: str, device: int) -> HttpResponse:
    """Let the device install a release."""
    actor, where = get_project_context(request, project)
    row = queries.get_device(actor, where, device)
    require(actor, "device.assign", row)
    form = AssignForm(actor, row, request.POST)
    if form.save() is None:
        return render_device(request, actor, row, assign_form=form, status=422)
    messages.success(request, _("The release is assigned. The device learns of it with its next poll."))
    return redirect("devices:detail", project=where.slug, device=device)


@require_POST
def cancel(request: HttpRequest, project: str, device: int, assignment: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    row = queries.get_assignment(actor, where, assignment)
    try:
        reason = request.POST.get("reason", "").strip()[:500]
        services.cancel_assignment(actor=actor, assignment=row, reason=reason)
    except Conflict as error:
        messages.warning(request, translate_message(error))
    return redirect("devices:detail", project=where.slug, device=row.device_id)


def move(request: HttpRequest, project: str, device: int, service: Callable[..., Device]) -> HttpResponseRedirect:
    """Let the service change the state, for the reason that was typed."""
    actor, where = get_project_context(request, project)
    row = queries.get_device(actor, where, device)
    try:
        service(actor=actor, device=row, reason=request.POST.get("reason", "").strip())
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_message(error))
    return redirect("devices:detail", project=where.slug, device=device)


def render_device(
    request: HttpRequest,
    actor: Actor,
    device: Device,
    *,
    form: DeviceForm | None = None,
    assign_form: AssignForm | None = None,
    status: int = 200,
) -> HttpResponse:
    is_revoked = device.state == DeviceState.REVOKED
    may_assign = device.state == DeviceState.ACTIVE and is_allowed(actor, "device.assign", device)
    may_cancel = is_allowed(actor, "device.cancel_assignment", device)
    context: dict[str, Any] = {
        "nav": "devices",
        "device": device,
        **presenters.describe_device(device),
        **presenters.summarize_assignments(device, may_cancel=may_cancel),
        "may_assign": may_assign,
        "assign_form": (assign_form or AssignForm(actor, device)) if may_assign else None,
        "form": form or DeviceForm(device),
        "may_change": not is_revoked and is_allowed(actor, "device.change", device),
        "may_quarantine": device.state == DeviceState.ACTIVE and is_allowed(actor, "device.quarantine", device),
        "may_reinstate": device.state == DeviceState.QUARANTINED and is_allowed(actor, "device.reinstate", device),
        "may_revoke": not is_revoked and is_allowed(actor, "device.revoke", device),
        "events": get_timeline(actor, "device", device.pk, limit=10),
    }
    return render(request, "devices/device.html", context, status=status)
