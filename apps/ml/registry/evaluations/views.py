"""Pages that write evaluations: measure a version, make a set, set and lift a gate. The tabs: presenters.py."""

from __future__ import annotations

import math
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, Malformed, NotFound, PlaneError, TooLarge
from apps.core.request_values import parse_int
from apps.ml.registry import queries
from apps.ml.registry.evaluations.set_form import EvaluationSetForm
from apps.ml.registry.evaluations.sets import find_set
from apps.ml.registry.models import EvaluationSet, Model, ModelVersion
from apps.ml.registry.services import evaluations as services
from apps.ml.registry.services.predictions import check_takes, submit_predictions
from apps.ml.registry.states import PRODUCTION
from apps.ml.registry.views import format_error, render_model, render_version
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.artifacts.services import publish_upload
from apps.platform.jobs.models import Job

WRONG = (Conflict, Invalid, NotFound)
EVALUATE_FIELDS = ("set", "variant", "predictions", "horizon")
GATE_FIELDS = ("set", "metric", "variant", "baseline", "margin", "confidence")  # what is wrong stands beside these


@require_POST
def evaluate(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """On to the job that measures it, or the tab with what is wrong."""
    actor, where = get_project_context(request, project)
    version_row = queries.get_version(actor, where, name, version)
    typed = get_form_input(request)
    try:
        on = find_set(where, typed.get("set", ""))
        if version_row.by_client:
            job, _new = submit_uploaded_predictions(request, actor, version_row, on, typed.get("horizon", ""))
        else:
            job, _new = services.submit_evaluation(
                actor=actor, version=version_row, on=on, variant=typed.get("variant", "")
            )
    except WRONG as error:
        field = error.field if error.field in EVALUATE_FIELDS else ""
        refused = {**typed, "why": format_error(error), "field": field}
        return render_version(
            request, actor, where, version_row, "evaluations", more={"refused_evaluation": refused}, status=error.status
        )
    messages.success(request, _("Job #%(job)d measures it.") % {"job": job.pk})
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


def submit_uploaded_predictions(
    request: HttpRequest, actor: Actor, version: ModelVersion, on: EvaluationSet, horizon: str
) -> tuple[Job, bool]:
    """Store the file of predictions and queue the job that measures it; nothing is stored where it would be refused."""
    policy.require(actor, "job.submit", version.model)
    ahead = parse_int(horizon)
    if horizon and not ahead:
        raise Invalid("A horizon is a whole number of rows.", field="horizon", limit="1 or more")
    check_takes(version, on, ahead)
    file = request.FILES.get("predictions")
    if not isinstance(file, UploadedFile):
        raise Invalid("Choose the file of predictions.", field="predictions", limit="CSV or Parquet")
    try:
        stored = publish_upload(
            actor=actor,
            project=version.model.project,
            stream=file.chunks(),
            expected_size=file.size,
            name=file.name or "predictions",
        )
    except (Invalid, Malformed, TooLarge) as error:
        raise Invalid(
            error.message, code=error.code, field="predictions", limit=error.limit, hint=error.hint
        ) from error
    return submit_predictions(actor=actor, version=version, on=on, predictions=stored.artifact.digest, horizon=ahead)


@require_POST
def make_set(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """A set for this model, or the tab with what is wrong beside its field; op=check answers the form alone."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    policy.require(actor, "evaluation_set.create", where)
    form = EvaluationSetForm(actor, where, None, request.POST)
    if request.POST.get("op") == "check":
        form.check()
        return render(request, "registry/set_form.html", {"model": model, "set_form": form})
    evaluation_set = form.save()
    if evaluation_set is None:
        return render_model(request, actor, model, "baselines", more={"set_form": form}, status=form.status)
    messages.success(request, _("%(set)s can be measured on.") % {"set": evaluation_set})
    return redirect("registry:baselines", project=where.slug, name=name)


@require_POST
def set_gate(request: HttpRequest, project: str, name: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    model, typed = queries.get_model(actor, where, name), get_form_input(request)
    policy.require(actor, "gate.set", model)
    try:
        services.set_gate(
            actor=actor,
            model=model,
            on=find_set(where, typed.get("set", "")),
            metric=typed.get("metric", ""),
            margin=parse_number("margin", typed.get("margin") or "0"),
            confidence=parse_number("confidence", typed.get("confidence") or "95") / 100,
            variant=typed.get("variant", ""),
            baseline=get_baseline(actor, where, model, typed.get("baseline", "")),
            guard_slices=bool(typed.get("guard_slices")),
            seen=parse_int(typed.get("gate")) or 0,
        )
    except WRONG as error:
        refused = {**typed, "why": format_error(error), "field": error.field if error.field in GATE_FIELDS else ""}
        return render_baselines_again(request, actor, model, error, {"refused_gate": refused})
    messages.success(request, _("The gate stands: every request for a promotion is measured by it."))
    return redirect("registry:baselines", project=where.slug, name=name)


@require_POST
def remove_gate(request: HttpRequest, project: str, name: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    model, reason = queries.get_model(actor, where, name), request.POST.get("reason", "").strip()
    try:
        services.remove_gate(actor=actor, gate=services.get_gate(model, pk), reason=reason)
    except WRONG as error:
        messages.error(request, format_error(error))
        return render_baselines_again(request, actor, model, error, {})
    messages.success(request, _("The gate is lifted."))
    return redirect("registry:baselines", project=where.slug, name=name)


# -- what was typed -------------------------------------------------------------------------------------------------
def get_form_input(request: HttpRequest) -> dict[str, str]:
    return {name: str(value).strip()[:600] for name, value in request.POST.items() if name != "csrfmiddlewaretoken"}


def get_baseline(actor: Actor, where: Project, model: Model, text: str) -> ModelVersion | None:
    """The version to compare with, by its number; None for whichever is in production. Invalid for anything else."""
    if text == PRODUCTION:
        return None
    if number := parse_int(text):
        try:
            return queries.get_version(actor, where, model.name, str(number))
        except (Invalid, NotFound) as error:
            raise Invalid(error.message, field="baseline") from error
    raise Invalid("Choose production or a version to compare with.", field="baseline")


def parse_number(field: str, text: str) -> float:
    """A number that a person typed; Invalid for what is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    raise Invalid("{text} is no number.", text=text[:40], field=field, limit="a number")


def render_baselines_again(
    request: HttpRequest, actor: Any, model: Any, error: PlaneError, more: dict[str, Any]
) -> HttpResponse:
    return render_model(request, actor, model, "baselines", more=more, status=error.status)
