"""The pages of a rollout: plan one, look at it, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.errors import Conflict, Invalid, PlaneError, Refused
from apps.core.messages import translate_message
from apps.core.policy import require
from apps.fleet.devices.queries import list_devices
from apps.fleet.devices.states import DeviceState
from apps.fleet.rollouts import presenters, queries, services
from apps.fleet.rollouts.forms import RolloutForm
from apps.fleet.rollouts.lists import parse_position
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.states import RolloutState
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline

Move = Callable[..., Any]


@require_safe
def show_rollout(request: HttpRequest, project: str, rollout: int) -> HttpResponse:
    """/p/<slug>/rollouts/<number>; `wave`: the position of the one whose evidence is drawn."""
    actor, where = get_project_context(request, project)
    row = queries.get_rollout(actor, where, rollout)
    wave = presenters.choose_evidence_wave(row, parse_position(request.GET.get("wave", "")))
    plan = read_plan(row.plan)
    context = {
        "nav": "rollouts",
        "rollout": row,
        **presenters.describe_rollout(row, plan),
        **presenters.describe_evidence(actor, row, wave, plan.canary.power),
        **presenters.list_rights(actor, row),
        "is_planned": row.state != RolloutState.DRAFT,
        "approvals": queries.list_rollout_approvals(actor, row).order_by("-pk")[:10],
        "events": get_timeline(actor, "rollout", row.pk, limit=10),
    }
    return render(request, "rollouts/rollout.html", context)


@require_safe
def show_preview(request: HttpRequest, project: str, rollout: int) -> HttpResponse:
    """The blast radius: of a draft as it would be planned now. A page of its own, for it reads every device."""
    actor, where = get_project_context(request, project)
    row = queries.get_rollout(actor, where, rollout)
    preview = queries.get_preview(actor, row)
    context = {
        "nav": "rollouts",
        "rollout": row,
        "preview": presenters.describe_preview(preview, read_plan(row.plan).canary.power),
    }
    return render(request, "rollouts/preview.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def plan_rollout(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/rollouts/new. `op=preview` shows whom the plan would reach, and writes nothing."""
    actor, where = get_project_context(request, project)
    require(actor, "rollout.create", where)
    form, preview, status = RolloutForm(actor, where), None, 200
    if request.method == "POST":
        form = RolloutForm(actor, where, request.POST)
        if request.POST.get("op") == "preview":
            preview = form.compute_preview()
            status = 422 if preview is None else 200
        else:
            rollout = form.save()
            if rollout is not None:
                messages.success(request, _("The rollout is planned. Request its approval when the plan is right."))
                return redirect("rollouts:detail", project=where.slug, rollout=rollout.pk)
            status = 422
    context = {
        "nav": "rollouts",
        "form": form,
        "preview": presenters.describe_preview(preview, queries.DEFAULT_POWER) if preview is not None else None,
    }
    return render(request, "rollouts/new.html", context, status=status)


@require_safe
def count_selection(request: HttpRequest, project: str) -> HttpResponse:
    """How many devices a group or a query selects now: a part of the form."""
    actor, where = get_project_context(request, project)
    filters = {name: request.GET.get(name, "").strip()[:2000] for name in ("group", "query")}
    context: dict[str, Any] = {}
    try:
        context["count"] = list_devices(actor, where, {**filters, "state": DeviceState.ACTIVE}).count()
    except Refused:
        raise
    except PlaneError as error:
        context["wrong"] = error
    return render(request, "rollouts/selection.html", context)


# -- moves ----------------------------------------------------------------------------------------------------------
@require_POST
def request_start(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    return move(request, project, rollout, services.request_start, "comment", _("The approval is requested."))


@require_POST
def request_decision(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    return move(request, project, rollout, services.request_decision, "comment", _("The approval is requested."))


@require_POST
def start(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    return move(request, project, rollout, services.start_rollout, "", _("The first wave has begun."))


@require_POST
def pause(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    return move(request, project, rollout, services.pause_rollout, "reason", _("The rollout is paused."))


@require_POST
def resume(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    return move(request, project, rollout, services.resume_rollout, "reason", _("The rollout goes on."))


@require_POST
def abort(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    return move(request, project, rollout, services.abort_rollout, "reason", _("The rollout is aborted."))


@require_POST
def roll_back(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    success = _("Every device that has the version goes back to what it ran before.")
    return move(request, project, rollout, services.roll_back, "reason", success)


@require_POST
def retry(request: HttpRequest, project: str, rollout: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    row = queries.get_rollout(actor, where, rollout)
    try:
        count = services.retry_devices(actor=actor, rollout=row, reason=request.POST.get("reason", "").strip())
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_message(error))
    else:
        success = ngettext("%(count)s device tries again.", "%(count)s devices try again.", count)
        messages.success(request, success % {"count": f"{count:,}"})
    return redirect("rollouts:detail", project=where.slug, rollout=rollout)


def move(
    request: HttpRequest, project: str, rollout: int, service: Move, text_name: str, success: str
) -> HttpResponseRedirect:
    """Let the service act on the rollout, with the text that was typed as its argument `text_name`."""
    actor, where = get_project_context(request, project)
    row: Rollout = queries.get_rollout(actor, where, rollout)
    text = {text_name: request.POST.get("reason", "").strip()} if text_name else {}
    try:
        service(actor=actor, rollout=row, **text)
    except Refused:
        raise
    except PlaneError as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, success)
    return redirect("rollouts:detail", project=where.slug, rollout=rollout)
