"""A monitor of a model with figures of hours, and the dispatcher's round at a moment of choice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.fleet.monitoring.models import Monitor
from apps.fleet.monitoring.services import (
    create_monitor,
    evaluate_due_monitors,
    evaluating,
    monitors,
    retraining_plans,
    retraining_steps,
    retrainings,
)
from apps.ml.observations.models import ClassCount, HourFigures, ObservationSource
from apps.ml.registry.models import Model, ModelVersion

NOON = datetime(2026, 7, 2, 12, tzinfo=UTC)
LATER = timedelta(minutes=6)  # a window is evaluated some minutes after its end


@pytest.fixture
def version(project):
    """Registered with an accuracy of 0.9, an F1 of 0.9 and an error of 2."""
    model = Model.objects.create(project=project, name="press", versions_count=1)
    metrics = [{"name": "accuracy", "value": 0.9}, {"name": "f1_macro", "value": 0.9}, {"name": "mae", "value": 2.0}]
    facts = {"digest": "1".ljust(64, "0"), "document": "{}", "task": "", "target": "", "metrics": metrics}
    return ModelVersion.objects.create(model=model, number=1, **facts)


@pytest.fixture
def source(project):
    return ObservationSource.objects.create(project=project, name="live", task="classification", created_by="test")


@pytest.fixture
def answer(source, version):
    """answer(hour, right, wrong): labelled answers of an hour, of one of two classes."""

    def add(hour: datetime, right: int, wrong: int = 0, to: ObservationSource | None = None, **columns) -> HourFigures:
        total = right + wrong
        counts = {"predictions": total, "labelled": total, "scored": total, "correct": right, **columns}
        facts = {"source": to or source, "version": version, "variant": "fp32", "is_shadow": False, "hour": hour}
        figures = HourFigures.objects.create(**facts, **counts)
        ClassCount.objects.create(figures=figures, name="up", predicted=total, labelled=right, correct=right)
        ClassCount.objects.create(figures=figures, name="down", predicted=0, labelled=wrong, correct=0)
        return figures

    return add


@pytest.fixture
def at(monkeypatch):
    """at(moment): what the clock of the database says."""

    def set_clock(moment: datetime) -> None:
        for module in (evaluating, monitors, retraining_plans, retraining_steps, retrainings):
            monkeypatch.setattr(module, "get_database_now", lambda: moment)

    return set_clock


@pytest.fixture
def create(engineer, actor_for, project, version, source, at):
    """create(**fields) -> a monitor of the engineer's, created at noon."""
    usual = {"name": "press accuracy", "model": "press", "metric": "accuracy", "window_hours": 1, "min_count": 10}

    def make(who=None, **fields) -> Monitor:
        at(NOON)
        return create_monitor(actor=actor_for(who or engineer), project=project, **{**usual, **fields})

    return make


@pytest.fixture
def monitor(create):
    return create()


@pytest.fixture
def evaluate(at):
    """evaluate(moment) -> how many windows were evaluated, as if it were so late."""

    def run(moment: datetime = NOON + LATER) -> int:
        at(moment)
        return evaluate_due_monitors(actor=build_plane_actor(PlaneRole.DISPATCHER))

    return run


@pytest.fixture
def alarm(monitor, answer, evaluate):
    """Of a window before noon in which half of the answers were right."""
    answer(NOON - timedelta(hours=1), 50, 50)
    evaluate()
    return monitor.alarms.get()
