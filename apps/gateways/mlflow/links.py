"""Redirect the links that MLflow's client prints to our pages; static/js/mlflow_link.js sends browsers here."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.ml.experiments.models import Experiment, LoggedModel, Run

NUMBER_LIMIT = 2**31  # numbers are smaller


@require_safe
def open_run(request: HttpRequest, number: int, run: str) -> HttpResponse:
    """To the page of a run. Its id alone finds it: the project is not in the address."""
    row = Run.objects.visible_to(get_actor(request)).select_related("project").filter(pk=run).first()
    if row is None:
        raise Http404
    return redirect("experiments:detail", row.project.slug, row.pk)


@require_safe
def open_logged_model(request: HttpRequest, number: int, model: str) -> HttpResponse:
    """To the page of a logged model, likewise."""
    row = LoggedModel.objects.visible_to(get_actor(request)).select_related("project").filter(pk=model).first()
    if row is None:
        raise Http404
    return redirect("experiments:logged_model", row.project.slug, row.pk)


@require_safe
def open_experiment(request: HttpRequest, number: int) -> HttpResponse:
    """To the runs of an experiment; where several of the reader's projects have one of this number, to a choice."""
    rows = Experiment.objects.visible_to(get_actor(request)).select_related("project")
    experiments = (
        list(rows.filter(number=number, deleted_at=None).order_by("project__slug")) if number < NUMBER_LIMIT else []
    )
    if not experiments:
        raise Http404
    if len(experiments) > 1:
        return render(request, "mlflow/experiments.html", {"experiments": experiments, "number": number})
    return redirect(build_runs_address(experiments[0]))


def build_runs_address(experiment: Experiment) -> str:
    return f"{reverse('experiments:list', args=[experiment.project.slug])}?experiment={experiment.number}"


def get_actor(request: HttpRequest) -> Actor:
    return request.actor  # type: ignore[attr-defined,no-any-return]
