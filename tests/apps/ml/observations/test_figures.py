"""The figures of a period, as pages, rollouts and monitors read them."""

from datetime import timedelta

import pytest

from apps.core.errors import Invalid, NotFound
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.queries import (
    Period,
    get_period_figures,
    list_class_counts,
    list_figures,
)
from deepseek.drift.estimates import estimate_share

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def period(hour):
    return Period(hour - timedelta(hours=3), hour + timedelta(hours=1))


def test_a_classification(predict, label, actor_for, viewer, project, period, hour):
    predict("a", "b", "c", latency_ms=4.0)
    predict("d", version=2, at=hour - timedelta(hours=2))
    label("a", "b")
    label("d", label="down")
    who = actor_for(viewer)
    total = get_period_figures(who, project, period, source="live")
    assert (total.predictions, total.labelled, total.correct, total.latency_ms) == (4, 3, 2, 4.0)
    assert total.accuracy == estimate_share(2, 3)
    assert (total.error_rate, total.absolute_error) == (pytest.approx(1 / 3), None)
    groups = list_figures(who, project, period, by="version", source="live")
    assert [(group.version, group.figures.predictions) for group in groups] == [(1, 3), (2, 1)]
    assert [group.hour for group in list_figures(who, project, period, by="hour")] == [
        hour - timedelta(hours=2),
        hour,
    ]
    assert get_period_figures(who, project, Period(hour, period.until), version=2, model="wti").predictions == 0
    assert list_class_counts(who, project, period)[0] == {"name": "up", "predicted": 4, "labelled": 2, "correct": 2}


def test_a_regression_has_an_error_with_an_interval(predict, label, actor_for, viewer, project, period):
    numbers = ObservationSource.objects.create(project=project, name="n", task="regression", created_by="x")
    for key, answer, right in (("a", 1.0, 2.0), ("b", [5.0, 0.0], [3.0, 0.0]), ("c", 1.0, [1.0, 2.0])):
        predict(key, to=numbers, answer=answer)
        label(key, to=numbers, label=right)
    figures = get_period_figures(actor_for(viewer), project, period, source="n")
    assert (figures.labelled, figures.scored, figures.accuracy) == (3, 2, None)  # c: of another shape
    assert figures.absolute_error.value == 1.0
    assert figures.absolute_error.low < 1.0 < figures.absolute_error.high
    assert (figures.rmse, figures.bias) == (pytest.approx(1.5**0.5), 0.0)
    mixed = get_period_figures(actor_for(viewer), project, period)
    predict("x")
    mixed = get_period_figures(actor_for(viewer), project, period)
    assert (mixed.predictions, mixed.quality) == (4, None)


def test_bad_values_and_other_projects(actor_for, viewer, stranger, project, period):
    with pytest.raises(NotFound):
        get_period_figures(actor_for(stranger), project, period)
    with pytest.raises(Invalid) as caught:
        get_period_figures(actor_for(viewer), project, Period(period.until, period.since))
    assert caught.value.code == "bad_period"
    with pytest.raises(Invalid):
        list_figures(actor_for(viewer), project, period, by="moon")
