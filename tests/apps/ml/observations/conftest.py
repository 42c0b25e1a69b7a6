"""A source of a project with two versions of one model, and short ways to send to it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.ml.observations.models import ClassCount, HourFigures, ObservationSource
from apps.ml.observations.schemas import LabelRow, PredictionRow
from apps.ml.observations.services import record_labels, record_predictions
from apps.ml.observations.services.batches import floor_hour
from apps.ml.registry.models import Model, ModelVersion

COUNTS = (
    "predictions",
    "labelled",
    "scored",
    "correct",
    "error_sum",
    "error_square_sum",
    "bias_sum",
    "latency_count",
    "latency_us_sum",
    "latency_us_max",
)


@pytest.fixture(autouse=True)
def _folders(settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": ""})


@pytest.fixture
def hour():
    """The hour before last."""
    return floor_hour(timezone.now()) - timedelta(hours=2)


def create_versions(project, name="wti", count=2):
    model = Model.objects.create(project=project, name=name, versions_count=count)
    return [
        ModelVersion.objects.create(
            model=model, number=number, digest=f"{number}{project.pk}".ljust(64, "0"), document="{}", task="", target=""
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture
def versions(project):
    return create_versions(project)


@pytest.fixture
def source(project, versions):
    return ObservationSource.objects.create(project=project, name="live", task="classification", created_by="test")


@pytest.fixture
def predict(source, actor_for, engineer, hour):
    """predict(*ids, source=, answer=, ...) -> BatchResult: a batch of predictions."""
    defaults = {"at": hour, "model": "wti", "version": 1, "answer": "up"}

    def send(*ids, to=None, who=None, **fields):
        rows = [PredictionRow(**{**defaults, **fields, "id": key}) for key in ids]
        return record_predictions(actor=who or actor_for(engineer), source=to or source, rows=rows)

    return send


@pytest.fixture
def label(source, actor_for, engineer, hour):
    """label(*ids, label=...) -> BatchResult: a batch of labels."""

    def send(*ids, to=None, who=None, **fields):
        rows = [LabelRow(**{"at": hour + timedelta(minutes=30), "label": "up", **fields, "id": key}) for key in ids]
        return record_labels(actor=who or actor_for(engineer), source=to or source, rows=rows)

    return send


def read_totals(source) -> dict:
    """{(version, variant, is_shadow, hour): (figures, {class: counts})} of a source."""
    rows = HourFigures.objects.filter(source=source).select_related("version")
    return {
        (row.version.number, row.variant, row.is_shadow, row.hour): (
            {name: getattr(row, name) for name in COUNTS},
            {
                each.name: (each.predicted, each.labelled, each.correct)
                for each in ClassCount.objects.filter(figures=row)
            },
        )
        for row in rows
    }


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/observations{tail}"
