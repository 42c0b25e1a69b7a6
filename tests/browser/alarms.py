"""An alarm whose model is trained again: run in the plane's home. Its dispatcher leaves the rows alone."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from apps.fleet.monitoring.models import Alarm, Monitor, Retraining, RetrainingPlan, Window
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from tests.browser.versions import make

PART = {"value": 0.71, "low": 0.66, "high": 0.76, "count": 400, "labelled": 400, "predictions": 520}


def make_retrained_alarm(model: str) -> int:
    """The alarm of a monitor; two versions were evaluated after it, and approvers are to be asked. Its id."""
    project = Project.objects.get(slug="demo")
    for rmse in (1.5, 1.2):
        make(model, rmse)
    first, second = ModelVersion.objects.filter(model__name=model).order_by("number")
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    facts = {"project": project, "model": first.model, "metric": "accuracy", "created_by": "engineer", "grant": {}}
    monitor = Monitor.objects.create(name=f"{model} accuracy", watched_from=now, evaluated_until=now, **facts)
    found = {"monitor": monitor, "predictions": 520, "count": 400, "reference": 0.9, "line": 0.855, "version": first}
    for hours in range(48):
        value = 0.9 - (0.19 if hours < 12 else 0.01 * (hours % 3))
        verdict = "worse" if hours < 12 else "good"
        span = {"value": value, "low": value - 0.04, "high": value + 0.04, "verdict": verdict}
        Window.objects.create(until=now - timedelta(hours=hours), **found, **span)
    evidence = {"metric": "accuracy", "reference": 0.9, "line": 0.855, "whole": PART}
    evidence |= {"rule": {"kind": "relative", "limit": 0.05, "certainty": "value"}, "since": now.isoformat()}
    evidence |= {"window": {"since": (now - timedelta(hours=24)).isoformat(), "until": now.isoformat()}}
    evidence |= {"by_version": [{"version": 1, "recorded": 0.9, **PART}], "by_source": []}
    facts = {"project": project, "monitor": monitor, "cause": "drop", "since": now, "last_bad_at": now}
    alarm = Alarm.objects.create(evidence=evidence, opened_at=now, **facts)
    RetrainingPlan.objects.create(monitor=monitor, causes=["drop"], grant={}, set_by="engineer", set_at=now)
    begun = {"alarm": alarm, "model": first.model, "former": first, "settings": {"min_rows": 100}, "grant": {}}
    begun |= {"project": project, "monitor": monitor, "since": now, "deadline_at": now, "created_at": now}
    metrics = {
        name: {"metrics": {"accuracy": {"value": value, "low": value - 0.03, "high": value + 0.03}}, "rows": 120}
        for name, value in (("bad", 0.71), ("good", 0.92), ("same", 0.9))
    }
    sets = {
        f"{model}-fresh-r1": {"kind": "fresh", "former": metrics["bad"], "version": metrics["good"]},
        "golden-r3": {"kind": "golden", "former": metrics["good"], "version": metrics["same"]},
    }
    facts = {"sets": {name: {"metric": "accuracy", **each} for name, each in sets.items()}}
    Retraining.objects.create(state="evaluating", version=second, facts=facts, next_at=None, **begun)
    return alarm.pk
