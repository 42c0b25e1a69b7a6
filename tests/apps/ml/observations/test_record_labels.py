"""Labels that come in, before and after their predictions, and in any order."""

from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.errors import Conflict, Invalid
from apps.ml.observations.models import Label, Landing, ObservationSource
from apps.ml.observations.services import seal_observations
from apps.ml.observations.services.batches import HOUR
from apps.ml.observations.services.sealing import LATE_REST
from tests.apps.ml.observations.conftest import read_totals

pytestmark = [pytest.mark.django_db, pytest.mark.services]
NUMBERS = count()


def test_a_label_counts_in_the_hour_of_its_prediction(source, predict, label, hour):
    predict("a", "b")
    result = label("a", at=hour + timedelta(hours=2))
    assert (result.stored, result.waiting) == (1, 0)
    label("b", label="down")
    figures, classes = read_totals(source)[1, "fp32", False, hour]
    assert (figures["labelled"], figures["scored"], figures["correct"]) == (2, 2, 1)
    assert classes == {"up": (2, 1, 1), "down": (0, 1, 0)}
    assert {(row.hour, row.kind) for row in Landing.objects.all()} == {(hour, "predictions"), (hour, "labels")}


def test_a_label_waits_for_its_prediction(source, predict, label, hour):
    assert label("a").waiting == 1
    assert not Landing.objects.exists()
    predict("a")
    assert read_totals(source)[1, "fp32", False, hour][0]["correct"] == 1
    assert Label.objects.get().joined


def test_a_label_counts_after_its_hour_was_sealed(source, predict, label, hour, worker_actor):
    predict("a")
    assert seal_observations(actor=worker_actor, now=timezone.now() + LATE_REST) == 1
    label("a")
    assert read_totals(source)[1, "fp32", False, hour][0]["labelled"] == 1
    predict("late", at=hour - 24 * HOUR)
    assert read_totals(source)[1, "fp32", False, hour - 24 * HOUR][0]["predictions"] == 1


def test_a_label_comes_twice_and_once_with_other_content(source, predict, label, hour):
    predict("a")
    label("a")
    assert (label("a").duplicates, label("a", "a").duplicates) == (1, 2)
    with pytest.raises(Conflict) as caught:
        label("b", "a", label="down")
    assert (caught.value.field, caught.value.code) == ("/rows/1/id", "observation_conflict")
    assert read_totals(source)[1, "fp32", False, hour][0]["labelled"] == 1


def test_a_label_of_another_kind_is_named(label, project):
    numbers = ObservationSource.objects.create(project=project, name="n", task="regression", created_by="x")
    with pytest.raises(Invalid) as caught:
        label("a", label=True, to=numbers)
    assert (caught.value.field, caught.value.code) == ("/rows/0/label", "bad_value")


ANSWERS = {"classification": st.sampled_from(["up", "down", 3, True]), "regression": st.integers(-50, 50)}
OFFSETS = st.sampled_from([timedelta(0), timedelta(minutes=59), HOUR, -30 * HOUR])


@st.composite
def draw_arrivals(draw):
    """(task, batches): what was sent, cut into batches and shuffled, with some sent again."""
    task = draw(st.sampled_from(sorted(ANSWERS)))
    rows = []
    for number in range(draw(st.integers(1, 8))):
        facts = {"at": draw(OFFSETS), "version": draw(st.integers(1, 2)), "answer": draw(ANSWERS[task])}
        rows.append(("prediction", f"id{number}", {**facts, "latency_ms": draw(st.integers(0, 9)) * 1.0}))
        if draw(st.booleans()):
            rows.append(("prediction", f"id{number}", {**facts, "version": 2, "shadow": True}))
        if draw(st.booleans()):
            rows.append(("label", f"id{number}", {"label": draw(ANSWERS[task])}))
    again = draw(st.lists(st.sampled_from(rows), max_size=4))
    return task, rows, draw(st.permutations(rows + again)), draw(st.integers(1, 4))


@given(draw_arrivals())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_arrival_gives_the_same_figures(project, predict, label, hour, arrivals):
    task, rows, shuffled, size = arrivals
    totals = []
    for order in (rows, shuffled):
        to = ObservationSource.objects.create(project=project, name=f"s{next(NUMBERS)}", task=task, created_by="x")
        for start in range(0, len(order), size):
            for kind, key, fields in order[start : start + size]:
                if kind == "label":
                    label(key, to=to, **fields)
                else:
                    predict(key, to=to, **{**fields, "at": hour + fields["at"]})
        landed = Landing.objects.filter(source=to).values_list("hour", "kind", "payload")
        lines = sorted((at, kind, line) for at, kind, payload in landed for line in payload.splitlines())
        totals.append((read_totals(to), lines))
    assert totals[0] == totals[1]
    assert sum(figures["predictions"] for figures, _ in totals[0][0].values()) == sum(
        kind == "prediction" for kind, *_ in rows
    )
