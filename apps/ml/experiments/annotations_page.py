"""Form handlers of the run page: set the note, add and remove tags, delete and restore the run."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.core.errors import Conflict, Invalid, NotFound, StaleState
from apps.core.messages import translate_message
from apps.ml.experiments import queries
from apps.ml.experiments.models import Run
from apps.ml.experiments.run_page import render_run
from apps.ml.experiments.services import annotations
from apps.platform.accounts.projects import get_project_context


@require_POST
def save_note(request: HttpRequest, project: str, run: str) -> HttpResponse:
    """Save the note. If it is rejected, the form keeps the text that was typed and the revision it was made from, but
    where that is an older one: then the page shows the latest text, and its form names that revision."""
    actor, where = get_project_context(request, project)
    visible_run = queries.get_run(actor, where, run)
    text = request.POST.get("text", "")
    try:
        annotations.set_note(actor=actor, run=visible_run, text=text, revision=request.POST.get("revision"))
    except (Invalid, Conflict) as error:
        is_stale = isinstance(error, StaleState)
        more: dict[str, Any] = {"refused_note": {"why": error, "text": text, "is_stale": is_stale}}
        if not is_stale:
            more["note_revision"] = request.POST.get("revision", "")
        return render_run(request, actor, visible_run, status=error.status, **more)
    messages.success(request, _("The note is kept.") if text.strip() else _("The run has no note now."))
    return redirect_to_run(visible_run)


@require_POST
def add_tag(request: HttpRequest, project: str, run: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    visible_run = queries.get_run(actor, where, run)
    typed = {"key": request.POST.get("key", ""), "value": request.POST.get("value", "")}
    try:
        annotations.set_run_tag(actor=actor, run=visible_run, **typed)
    except (Invalid, Conflict) as error:
        return render_run(request, actor, visible_run, status=error.status, refused_tag={"why": error, **typed})
    return redirect_to_run(visible_run)


@require_POST
def remove_tag(request: HttpRequest, project: str, run: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    visible_run = queries.get_run(actor, where, run)
    try:
        annotations.delete_run_tag(actor=actor, run=visible_run, key=request.POST.get("key", ""))
    except (Conflict, NotFound) as error:
        messages.warning(request, translate_message(error))
    return redirect_to_run(visible_run)


@require_POST
def delete(request: HttpRequest, project: str, run: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    visible_run = queries.get_run(actor, where, run)
    try:
        annotations.delete_run(actor=actor, run=visible_run, reason=request.POST.get("reason", "").strip())
    except Conflict as error:
        messages.warning(request, translate_message(error))
    return redirect_to_run(visible_run)


@require_POST
def restore(request: HttpRequest, project: str, run: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    visible_run = queries.get_run(actor, where, run)
    try:
        annotations.restore_run(actor=actor, run=visible_run)
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("The run is back."))
    return redirect_to_run(visible_run)


def redirect_to_run(run: Run) -> Any:
    return redirect("experiments:detail", run.project.slug, run.pk)
