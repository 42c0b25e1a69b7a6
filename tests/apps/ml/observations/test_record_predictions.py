"""Predictions that come in."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.observations.models import Label, Landing, ObservationSource, Prediction
from apps.ml.observations.sampling import is_sampled
from apps.ml.observations.schemas import PredictionRow, compute_former_fingerprint, count_microseconds
from apps.ml.observations.services import batches
from apps.platform.audit.models import AuditRecord
from tests.apps.ml.observations.conftest import create_versions, read_totals

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_batch_is_counted_and_recorded_once(source, predict, hour):
    result = predict("a", "b", latency_ms=1.5, features={"x": 1.0})
    assert (result.received, result.stored, result.duplicates, result.sampled_out) == (2, 2, 0, 0)
    figures, classes = read_totals(source)[1, "fp32", False, hour]
    assert (figures["predictions"], figures["latency_us_sum"], figures["latency_us_max"]) == (2, 3000, 1500)
    assert classes == {"up": (2, 0, 0)}
    assert Landing.objects.get().rows == 2
    assert AuditRecord.objects.filter(action="observation.record_predictions", object_id=str(source.pk)).count() == 1


def test_a_row_that_comes_again_counts_once(source, predict, hour):
    predict("a")
    result = predict("a", "b", "b")
    assert (result.stored, result.duplicates) == (1, 2)
    assert read_totals(source)[1, "fp32", False, hour][0]["predictions"] == 2
    assert predict("a", "b").stored == 0
    assert AuditRecord.objects.filter(action="observation.record_predictions").count() == 2


def test_a_row_is_the_same_in_another_order_and_as_an_older_plane_stored_it(source, predict, hour):
    features = {"b": 1e-07, "a": {"d": [1e22], "c": None}}
    predict("a", features=features)
    assert predict("a", features={"a": {"c": None, "d": [1e22]}, "b": 1e-07}).duplicates == 1
    row = PredictionRow(id="a", at=hour, model="wti", version=1, answer="up", features=features)
    former = compute_former_fingerprint(row.list_facts(count_microseconds(hour)))
    assert Prediction.objects.exclude(fingerprint=former).update(fingerprint=former) == 1
    assert predict("a", features=features).duplicates == 1


def test_other_content_under_a_known_id_names_its_row_and_nothing_is_taken(source, predict):
    predict("b")
    with pytest.raises(Conflict) as caught:
        predict("a", "b", answer="down")
    assert [(error["field"], error["code"]) for error in caught.value.errors] == [
        ("/rows/1/id", "observation_conflict")
    ]
    assert set(Prediction.objects.values_list("key", flat=True)) == {"b"}


def test_a_candidate_in_shadow_answers_under_the_same_id(source, predict, label, hour):
    predict("a")
    predict("a", version=2, shadow=True, answer="down")
    label("a")
    totals = read_totals(source)
    assert totals[1, "fp32", False, hour][0]["correct"] == 1
    assert (totals[2, "fp32", True, hour][0]["labelled"], totals[2, "fp32", True, hour][0]["correct"]) == (1, 0)
    assert sum(Landing.objects.filter(kind="labels").values_list("rows", flat=True)) == 1


def test_each_bad_row_is_named(source, predict, project):
    other = ObservationSource.objects.create(project=project, name="n", task="regression", created_by="x")
    now = timezone.now()
    bad = {
        "/rows/0/at ahead": ("time_ahead", {"at": now + timedelta(hours=1)}),
        "/rows/0/at a year ahead": ("time_ahead", {"at": now + timedelta(days=365)}),
        "/rows/0/at old": ("too_old", {"at": now - timedelta(days=400)}),
        "/rows/0/version": ("version_unknown", {"version": 9}),
        "/rows/0/version other": ("version_unknown", {"model": "none"}),
        "/rows/0/answer": ("bad_value", {"answer": {"a": 1}}),
        "/rows/0/answer long": ("bad_value", {"answer": "x" * 101}),
        "/rows/0/answer text": ("bad_value", {"answer": "up", "to": other}),
        "/rows/0/answer empty": ("bad_value", {"answer": [], "to": other}),
        "/rows/0/answer large": ("bad_value", {"answer": 1e200, "to": other}),
        "/rows/0/answer integer": ("bad_value", {"answer": 10**400, "to": other}),
    }
    found = {}
    for field, (_, change) in bad.items():
        with pytest.raises(Invalid) as caught:
            predict("a", **change)
        found[field] = (caught.value.errors[0]["code"], caught.value.errors[0]["field"])
    assert found == {field: (code, field.split()[0]) for field, (code, _) in bad.items()}
    assert not Prediction.objects.exists()


def test_a_version_of_another_project_is_unknown(predict, other_project):
    create_versions(other_project, "theirs")
    with pytest.raises(Invalid) as caught:
        predict("a", model="theirs")
    assert caught.value.code == "version_unknown"


def test_recording_requires_an_engineer_of_the_project(predict, label, actor_for, viewer, approver, stranger):
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        for send in (predict, label):
            with pytest.raises(error):
                send("a", who=actor_for(user))
    assert not Prediction.objects.exists()
    assert not Label.objects.exists()


def test_sampling_keeps_a_share_and_label_and_prediction_together(source, predict, label, hour):
    ids = [f"id{number}" for number in range(200)]
    predict(ids[0])  # before the rate was lowered
    ObservationSource.objects.update(sampling_rate=0.3)
    kept = {key for key in ids if is_sampled(key, 0.3)}
    assert 40 < len(kept) < 80
    result = predict(*ids[1:])
    assert result.stored + result.sampled_out == 199
    assert set(Prediction.objects.values_list("key", flat=True)) == kept | {ids[0]}
    assert label(*ids).waiting == 0
    assert set(Label.objects.values_list("key", flat=True)) == kept | {ids[0]}


def test_more_classes_than_a_source_may_have_are_refused(predict, monkeypatch, source):
    monkeypatch.setattr(batches, "MAX_CLASSES", 2)
    predict("a", answer="up")
    predict("b", answer="down")
    with pytest.raises(Invalid) as caught:
        predict("c", answer="sideways")
    assert (caught.value.code, caught.value.limit) == ("too_many_source_classes", 2)
    source.refresh_from_db()
    assert source.classes == ["down", "up"]
