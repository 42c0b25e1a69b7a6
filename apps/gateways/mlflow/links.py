"""Where the addresses that MLflow's client prints lead in a browser; static/js/mlflow_link.js sends it here."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.ml.experiments.models import Experiment, LoggedModel, Run

TOP = 2**31  # numbers are smaller


@require_safe
def open_run(request: HttpRequest, number: int, run: str) -> HttpResponse:
    """To the page of a run. Its id alone finds it: the project is not in the address."""
    found = Run.objects.visible_to(actor_of(request)).select_related("project").filter(pk=run).first()
    if found is None:
        raise Http404
    return redirect("experiments:detail", found.project.slug, found.pk)


@require_safe
def open_logged_model(request: HttpRequest, number: int, model: str) -> HttpResponse:
    """To the page of a logged model, likewise."""
    found = LoggedModel.objects.visible_to(actor_of(request)).select_related("project").filter(pk=model).first()
    if found is None:
        raise Http404
    return redirect("experiments:logged_model", found.project.slug, found.pk)


@require_safe
def open_experiment(request: HttpRequest, number: int) -> HttpResponse:
    """To the runs of an experiment; where several of the reader's projects have one of this number, to a choice."""
    rows = Experiment.objects.visible_to(actor_of(request)).select_related("project")
    found = list(rows.filter(number=number, deleted_at=None).order_by("project__slug")) if number < TOP else []
    if not found:
        raise Http404
    if len(found) > 1:
        return render(request, "mlflow/experiments.html", {"experiments": found, "number": number})
    return redirect(address_of(found[0]))


def address_of(experiment: Experiment) -> str:
    return f"{reverse('experiments:list', args=[experiment.project.slug])}?experiment={experiment.number}"


def actor_of(request: HttpRequest) -> Actor:
    return request.actor  # type: ignore[attr-defined,no-any-return]
