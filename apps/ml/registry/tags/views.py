"""Form handlers of the tags of models and versions: add, change, remove."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.core.errors import Invalid
from apps.ml.registry import queries, services
from apps.ml.registry.views import render_model, render_version
from apps.platform.accounts.projects import get_project_context


@require_POST
def set_model_tag(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """Set a tag of a model; if it is rejected, the form keeps what was typed."""
    actor, where = get_project_context(request, project)
    model, typed = queries.get_model(actor, where, name), read_tag(request)
    try:
        services.tag_model(actor=actor, model=model, **typed)
    except Invalid as error:
        more = {"refused_tag": {"why": error, **typed}}
        return render_model(request, actor, model, "versions", more=more, status=error.status)
    return redirect("registry:model", project=where.slug, name=model.name)


@require_POST
def remove_model_tag(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """Remove a tag of a model; one that is gone already is no error."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    services.untag_model(actor=actor, model=model, key=request.POST.get("key", ""))
    return redirect("registry:model", project=where.slug, name=model.name)


@require_POST
def set_version_tag(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """Set a tag of a version; if it is rejected, the form keeps what was typed."""
    actor, where = get_project_context(request, project)
    version_row, typed = queries.get_version(actor, where, name, version), read_tag(request)
    try:
        services.tag_version(actor=actor, version=version_row, **typed)
    except Invalid as error:
        more = {"refused_tag": {"why": error, **typed}}
        return render_version(request, actor, where, version_row, "overview", more=more, status=error.status)
    return redirect("registry:version", project=where.slug, name=name, version=version_row.number)


@require_POST
def remove_version_tag(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """Remove a tag of a version; one that is gone already is no error."""
    actor, where = get_project_context(request, project)
    version_row = queries.get_version(actor, where, name, version)
    services.untag_version(actor=actor, version=version_row, key=request.POST.get("key", ""))
    return redirect("registry:version", project=where.slug, name=name, version=version_row.number)


def read_tag(request: HttpRequest) -> dict[str, str]:
    return {"key": request.POST.get("key", "").strip(), "value": request.POST.get("value", "")}
