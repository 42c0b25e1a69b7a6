"""The page of a logged model: files, params, tags and metrics."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.errors import NotFound
from apps.ml.experiments.files.page import build_files_context
from apps.ml.experiments.files.tree import get_logged_model, list_files
from apps.platform.accounts.projects import get_project_context

PAIRS, METRICS = 200, 200


@require_safe
def render_logged_model_page(request: HttpRequest, project: str, model: str) -> HttpResponse:
    """/p/<slug>/logged-models/<id>"""
    actor, where = get_project_context(request, project)
    try:
        logged_model = get_logged_model(actor, where, model)
    except NotFound:
        raise NotFound("This project has no such logged model.", field="model_id") from None
    context = {
        "nav": "runs",
        "model": logged_model,
        "count": list_files(logged_model).count(),
        "params": list(logged_model.params.order_by("key").values_list("key", "value")[:PAIRS]),
        "tags": list(logged_model.tags.order_by("key").values_list("key", "value")[:PAIRS]),
        "metrics": list(logged_model.metrics.order_by("key", "pk")[:METRICS]),
    }
    return render(request, "experiments/logged_model.html", context | build_files_context(request, actor, logged_model))
