"""The page that registers a model version from a run."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.core import policy
from apps.core.errors import PlaneError, Refused
from apps.ml.experiments.queries import get_run
from apps.ml.registry.from_run.candidates import find_candidates, list_model_names
from apps.ml.registry.services.from_run import MAX_NOTE_LENGTH, register_run
from apps.platform.accounts.projects import get_project_context

FIELDS = ("model", "note", "logged_model")


@require_http_methods(["GET", "HEAD", "POST"])
def register_from_run(request: HttpRequest, project: str, run: str) -> HttpResponse:
    """/p/<slug>/runs/<id>/register: the model, a note, and what will be registered; POST does it."""
    actor, where = get_project_context(request, project)
    source = get_run(actor, where, run)
    values: dict[str, str] = dict.fromkeys(FIELDS, "")
    wrong: PlaneError | None = None
    if request.method == "POST":
        policy.require(actor, "model.record_version", source)
        values = {name: request.POST.get(name, "").strip() for name in FIELDS}
        try:
            registration = register_run(
                actor=actor,
                run=source,
                name=values["model"],
                note=values["note"],
                logged_model=values["logged_model"],
            )
        except Refused:
            raise
        except PlaneError as error:
            wrong = error
        else:
            if registration.job is not None:
                messages.success(request, _("Job %(number)s registers the version.") % {"number": registration.job.pk})
                return redirect("jobs:detail", project=where.slug, pk=registration.job.pk)
            assert registration.version is not None  # noqa: S101 - one of both
            messages.success(request, _("Registered %(version)s.") % {"version": registration.version})
            return redirect("registry:version", where.slug, values["model"], registration.version.number)
    names = list_model_names(actor, where)
    context: dict[str, Any] = {
        "nav": "runs",
        "run": source,
        "candidates": find_candidates(source),
        "model_names": names,
        "values": values if wrong else {"model": names[0] if len(names) == 1 else ""},
        "wrong": wrong,
        "wrong_field": str(wrong.field or "").rpartition("/")[2] if wrong else "",
        "may_register": policy.is_allowed(actor, "model.record_version", source),
        "note_limit": MAX_NOTE_LENGTH,
        "body": {"model": names[0] if names else "plant-load", "note": ""},
    }
    return render(request, "registry/from_run.html", context, status=wrong.status if wrong else 200)
