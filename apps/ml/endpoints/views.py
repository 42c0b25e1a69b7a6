"""Pages of one endpoint: its servers, a try from the signature, and what may be done with it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.messages import translate_message
from apps.core.policy import is_allowed, require
from apps.ml.endpoints import presenters, queries, services
from apps.ml.endpoints.forms import EndpointSettingsForm, TryForm
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.services import TryAnswer
from apps.ml.endpoints.states import ACTIVE, EndpointState
from apps.ml.registry.documents import CLIENT_DEFAULTS, read_document
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline


@require_safe
def show_endpoint(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/endpoints/<name>."""
    actor, where = get_project_context(request, project)
    return render_endpoint(request, actor, queries.get_endpoint(actor, where, name))


@require_POST
def try_endpoint(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """Send one request to a server of the endpoint, and show its answer."""
    actor, where = get_project_context(request, project)
    endpoint = queries.get_endpoint(actor, where, name)
    require(actor, "endpoint.predict", endpoint)
    form = TryForm(read_signature(endpoint), request.POST)
    answer = form.ask(actor, endpoint)
    return render_endpoint(request, actor, endpoint, form=form, answer=answer, status=200 if answer else 422)


@require_POST
def change_settings(request: HttpRequest, project: str, name: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    endpoint = queries.get_endpoint(actor, where, name)
    require(actor, "endpoint.update", endpoint)
    form = EndpointSettingsForm(endpoint, request.POST)
    if not form.save(actor):
        return render_endpoint(request, actor, endpoint, settings_form=form, status=422)
    messages.success(request, _("The settings are saved."))
    return redirect("endpoints:detail", project=where.slug, name=name)


@require_POST
def suspend(request: HttpRequest, project: str, name: str) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    endpoint = queries.get_endpoint(actor, where, name)
    try:
        services.suspend_endpoint(actor=actor, endpoint=endpoint, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, translate_message(error))
    return redirect("endpoints:detail", project=where.slug, name=name)


@require_POST
def resume(request: HttpRequest, project: str, name: str) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    try:
        services.resume_endpoint(actor=actor, endpoint=queries.get_endpoint(actor, where, name))
    except Conflict as error:
        messages.warning(request, translate_message(error))
    return redirect("endpoints:detail", project=where.slug, name=name)


@require_POST
def rotate_token(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """Make a token. It is in the answer to the POST and nowhere else: no redirect could carry it."""
    actor, where = get_project_context(request, project)
    endpoint = queries.get_endpoint(actor, where, name)
    secret = services.rotate_token(actor=actor, endpoint=endpoint)
    return render_endpoint(request, actor, queries.get_endpoint(actor, where, name), secret=secret)


@require_POST
def delete(request: HttpRequest, project: str, name: str) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    endpoint = queries.get_endpoint(actor, where, name)
    try:
        services.delete_endpoint(actor=actor, endpoint=endpoint, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("The endpoint %(name)s is deleted.") % {"name": endpoint.name})
    return redirect("endpoints:list", project=where.slug)


def read_signature(endpoint: Endpoint) -> dict[str, Any]:
    return read_document(endpoint.version.document) if endpoint.version else dict(CLIENT_DEFAULTS)


def render_endpoint(
    request: HttpRequest,
    actor: Actor,
    endpoint: Endpoint,
    *,
    form: TryForm | None = None,
    settings_form: EndpointSettingsForm | None = None,
    answer: TryAnswer | None = None,
    secret: str = "",
    status: int = 200,
) -> HttpResponse:
    replicas = queries.list_replicas(endpoint)
    form = form or TryForm(read_signature(endpoint))
    features = [0.0] * len(form.features) if form.by_feature else []
    if answer is not None:
        features = form.read_features()
    serving = presenters.list_serving(replicas) or replicas
    may_change = is_allowed(actor, "endpoint.update", endpoint)
    context = {
        "nav": "endpoints",
        "endpoint": endpoint,
        "replicas": replicas,
        "figures": presenters.add_figures(replicas),
        "is_active": endpoint.state in ACTIVE,
        "may_change": may_change,
        "settings_form": (settings_form or EndpointSettingsForm(endpoint)) if may_change else None,
        "may_resume": endpoint.state == EndpointState.SUSPENDED and is_allowed(actor, "endpoint.resume", endpoint),
        "may_try": is_allowed(actor, "endpoint.predict", endpoint),
        "form": form,
        "answer": answer,
        "secret": secret,
        "needs_token": presenters.needs_token(endpoint, replicas),
        "answer_text": json.dumps(answer.body, ensure_ascii=False, indent=2)[:20_000] if answer else "",
        "command": presenters.build_curl(serving[0], features) if serving else "",
        "events": get_timeline(actor, "endpoint", endpoint.pk, limit=10),
    }
    return render(request, "endpoints/endpoint.html", context, status=status)
