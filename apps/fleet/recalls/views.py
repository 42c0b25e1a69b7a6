"""The report of one recall: what was done, and what is still out there, live."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.errors import Conflict, Invalid
from apps.core.lists.pages import paginate
from apps.core.messages import translate_message
from apps.core.policy import is_allowed
from apps.fleet.devices.states import DeviceState
from apps.fleet.recalls import presenters, queries, services
from apps.fleet.recalls.states import DeviceOutcome, RecallState
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline

MAX_ITEMS = 200  # of the page; REST pages them all


@require_safe
def show_recall(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/recalls/<number>"""
    actor, where = get_project_context(request, project)
    recall = queries.get_recall(actor, where, pk)
    progress = queries.measure_progress(actor, recall)
    outcome = request.GET.get("outcome", "")
    outcome = outcome if outcome in DeviceOutcome.values else ""
    page = paginate(queries.list_recall_devices(actor, recall, outcome=outcome), request.GET, order=("id",))
    items = queries.list_items(actor, recall).order_by("kind", "id")[:MAX_ITEMS]
    context: dict[str, Any] = {
        "nav": "devices",
        "recall": recall,
        "colour": presenters.STATE_COLOURS[RecallState(recall.state)],
        "subject_text": presenters.describe_subject(recall.subject_label, recall.subject_row),
        "subject_kind": presenters.describe_type(recall.subject_type),
        "subject_url": presenters.get_subject_url(recall, where.slug),
        "progress": progress,
        "active": progress.running[DeviceState.ACTIVE],
        "isolated": progress.running[DeviceState.QUARANTINED] + progress.running[DeviceState.REVOKED],
        "items": presenters.list_item_rows(list(items)),
        "summary": presenters.summarize_items(progress),
        "outcomes": presenters.summarize_devices(progress),
        "outcome": outcome,
        "devices": presenters.list_device_rows(page.items),
        "page": page,
        "errors": presenters.list_errors(recall),
        "may_retry": recall.state != RecallState.COMPLETED and is_allowed(actor, "recall.retry", recall),
        "events": get_timeline(actor, "recall", recall.pk, limit=10),
    }
    return render(request, "recalls/recall.html", context)


@require_POST
def retry(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Let it go on at once, also with devices that did not go back."""
    actor, where = get_project_context(request, project)
    recall = queries.get_recall(actor, where, pk)
    try:
        services.retry_recall(actor=actor, recall=recall, reason=request.POST.get("reason", "").strip())
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("The recall goes on."))
    return redirect("recalls:detail", project=where.slug, pk=pk)
