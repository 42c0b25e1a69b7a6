"""The page of a logged model: its files, what was said of it, what was measured for it. Versions of it name it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.errors import NotFound
from apps.ml.experiments.files.page import files_context
from apps.ml.experiments.files.tree import files_of, get_logged_model
from apps.platform.jobs.views import get_project_context

PAIRS, METRICS = 200, 200


@require_safe
def logged_model_page(request: HttpRequest, project: str, model: str) -> HttpResponse:
    """/p/<slug>/logged-models/<id>"""
    actor, where = get_project_context(request, project)
    try:
        found = get_logged_model(actor, where, model)
    except NotFound:
        raise NotFound("This project has no such logged model.", field="model_id") from None
    context = {
        "nav": "runs",
        "model": found,
        "count": files_of(found).count(),
        "params": list(found.params.order_by("key").values_list("key", "value")[:PAIRS]),
        "tags": list(found.tags.order_by("key").values_list("key", "value")[:PAIRS]),
        "metrics": list(found.metrics.order_by("key", "pk")[:METRICS]),
    }
    return render(request, "experiments/logged_model.html", context | files_context(request, actor, found))
