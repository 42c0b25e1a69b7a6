"""Drift of features and errors: from rows that come in to a window and an alarm, each counted once."""
# ruff: noqa: F401, F811 - fixtures of another folder

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from django.utils import timezone

from apps.fleet.monitoring.models import Alarm, DriftWindow, ErrorStream
from apps.fleet.monitoring.services import create_monitor
from apps.ml.observations.models import FeatureProfile, FeatureReference
from apps.ml.observations.schemas import LabelRow, PredictionRow
from apps.ml.observations.services import record_labels, record_predictions, seal_observations, store_feature_reference
from apps.ml.observations.services.sealing import LATE_REST
from deepseek.drift.profile import build_reference
from tests.apps.ml.observations.conftest import hour, source, versions
from tests.forks import kill_at
from workers.monitoring import drift

pytestmark = [pytest.mark.django_db, pytest.mark.services]
ROWS = 400


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def reference(worker_actor, versions, random):
    """Of a number about 0 and a colour of two."""
    table = pa.table({"x": random.normal(0, 1, 4_000), "colour": random.choice(["red", "blue"], 4_000)})
    layout, profile = build_reference(table)
    facts = {"layout": layout.to_dict(), "layout_digest": layout.digest, "profile": profile.to_dict()}
    return store_feature_reference(actor=worker_actor, version=versions[0], report="r" * 64, **facts)


@pytest.fixture
def monitor(engineer, actor_for, project, source, hour):
    rule = {"window_hours": 1, "min_count": 50, "reference": 0.9, "drift_alpha": 0.01}
    monitor = create_monitor(
        actor=actor_for(engineer), project=project, name="m", model="wti", metric="accuracy", source="live", **rule
    )
    type(monitor).objects.filter(pk=monitor.pk).update(watched_from=hour)
    return monitor


@pytest.fixture
def send(source, actor_for, engineer, random):
    """send(at, shift=, colours=, wrong=): labelled answers of an hour."""

    def run(at, shift=0.0, colours=("red", "blue"), wrong=0, rows=ROWS, **changes):
        actor, keys = actor_for(engineer), [f"{at:%H}-{number}-{shift}" for number in range(rows)]
        features = [
            {"x": float(random.normal(shift, 1)), "colour": str(random.choice(colours)), **changes} for _ in keys
        ]
        facts = {"at": at + timedelta(minutes=3), "model": "wti", "version": 1, "answer": "up"}
        predictions = [PredictionRow(id=key, features=each, **facts) for key, each in zip(keys, features, strict=True)]
        record_predictions(actor=actor, source=source, rows=predictions)
        labels = ["down"] * wrong + ["up"] * (rows - wrong)
        record_labels(
            actor=actor,
            source=source,
            rows=[LabelRow(id=key, at=facts["at"], label=label) for key, label in zip(keys, labels, strict=True)],
        )

    return run


@pytest.fixture
def evaluate(worker_actor, hour, monkeypatch):
    """evaluate(hours): seal and evaluate as if it were so many hours and a quarter after the first hour."""

    def run(hours=1):
        now = hour + timedelta(hours=hours, minutes=15)
        seal_observations(actor=worker_actor, now=timezone.now() + LATE_REST)
        monkeypatch.setattr(drift, "get_database_now", lambda: now)
        return drift.evaluate_drift(worker_actor)

    return run


def test_undrifted_features_are_stable(monitor, send, evaluate, hour):
    send(hour)
    assert evaluate() == 1
    window = DriftWindow.objects.get()
    assert (window.verdict, window.rows, window.drifted, window.version.number) == ("stable", ROWS, 0, 1)
    assert {each["name"] for each in window.features} == {"x", "colour"}
    assert {test["name"] for each in window.features for test in each["tests"]} == {
        "ks",
        "psi",
        "wasserstein",
        "chi_square",
        "missing",
        "unseen",
    }
    assert not Alarm.objects.exists()
    assert evaluate() == 0


def test_drifted_features_open_one_alarm_with_its_evidence(monitor, send, evaluate, hour, source):
    send(hour, shift=2.0, colours=("green", "red"))
    send(hour + timedelta(hours=1), shift=2.0)
    assert evaluate(2) == 2
    alarm = Alarm.objects.get()
    assert (alarm.cause, alarm.windows, alarm.evidence["version"]) == ("inputs", 2, 1)
    assert {each["name"]: each["verdict"] for each in alarm.evidence["features"]} == {
        "x": "changed",
        "colour": "changed",
    }
    assert alarm.evidence["by_source"] == [
        {
            "source": source.pk,
            "rows": ROWS,
            "verdict": "changed",
            "drifted": 2,
            "feature": alarm.evidence["by_source"][0]["feature"],
        }
    ]
    assert any("green" in each["unseen"] for each in alarm.evidence["features"])


def test_a_flood_of_nan_and_texts_is_missing_values(monitor, send, evaluate, hour):
    send(hour, x=float("nan"))
    send(hour, shift=1e-9, x="broken")
    assert evaluate() == 1
    feature = DriftWindow.objects.get().features[0]
    assert (feature["name"], feature["test"], feature["missing_share"]) == ("x", "missing", 1.0)


def test_parts_of_one_hour_add_up(monitor, send, evaluate, hour, worker_actor):
    send(hour)
    seal_observations(actor=worker_actor, now=timezone.now() + LATE_REST)
    send(hour, shift=1e-9, rows=100)
    assert evaluate() == 1
    assert sorted(FeatureProfile.objects.values_list("rows", flat=True)) == [100, ROWS]
    assert DriftWindow.objects.get().rows == ROWS + 100


def test_errors_that_rise_alarm_by_adwin_and_by_the_bound_of_the_risk(monitor, send, evaluate, hour):
    send(hour, wrong=20)
    send(hour + timedelta(hours=1), wrong=250)
    assert evaluate(2) == 2
    assert set(Alarm.objects.values_list("cause", flat=True)) == {"errors", "risk"}
    rise, risk = Alarm.objects.get(cause="errors").evidence, Alarm.objects.get(cause="risk").evidence
    assert rise["before"] < 0.2 < rise["after"]
    assert risk["low"] > risk["limit"] == pytest.approx(0.145)


@pytest.mark.django_db(transaction=True)
def test_a_kill_and_a_second_worker_count_no_hour_twice(monitor, send, evaluate, hour, worker_actor):
    send(hour, wrong=40)
    seal_observations(actor=worker_actor, now=timezone.now() + LATE_REST)
    now = hour + timedelta(hours=1, minutes=15)
    first = next(drift.monitoring.list_due_drift(actor=worker_actor, now=now))
    twin = next(drift.monitoring.list_due_drift(actor=worker_actor, now=now))
    results = [drift.compute_drift(plan) for plan in (first, twin)]

    def record(plan, result):
        drift.monitoring.record_drift(actor=worker_actor, plan=plan, result=result, now=now)

    assert kill_at(DriftWindow.objects, "create", lambda: record(first, results[0])), "between states and window"
    assert not ErrorStream.objects.exists()
    for plan, result in zip((first, twin), results, strict=True):
        record(plan, result)
    assert ErrorStream.objects.get().risk["count"] == ROWS
    assert DriftWindow.objects.count() == 1


def test_a_version_without_a_reference_is_unknown_and_no_alarm(monitor, send, evaluate, hour, reference):
    FeatureReference.objects.all().delete()
    send(hour, shift=3.0)
    assert evaluate() == 1
    window = DriftWindow.objects.get()
    assert (window.verdict, window.version) == ("unknown", None)
    assert not Alarm.objects.exists()


def test_the_reference_is_the_quality_report_of_the_training_data(
    monitor, send, hour, versions, worker_actor, monkeypatch, project
):
    FeatureReference.objects.all().delete()
    send(hour, rows=5)
    columns = [
        {"name": "x", "missing": 0, "numeric": {"min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.3,
         "below": {"at": [0.0, 0.5, 1.0], "under": [0.0, 0.4, 0.9], "upto": [0.1, 0.5, 1.0]}}},
        {"name": "target", "missing": 0, "values": [["up", 60], ["down", 40]]},
    ]  # fmt: skip
    data = type("Data", (), {"quality_id": "q" * 64})()
    monkeypatch.setattr(drift, "list_training_data", lambda variant, project_id: [data])
    monkeypatch.setattr(drift, "load_report", lambda actor, version: {"rows": 100, "columns": columns})
    type(versions[0]).objects.filter(pk=versions[0].pk).update(target="target")
    assert (drift.build_missing_references(worker_actor), drift.build_missing_references(worker_actor)) == (1, 0)
    row = FeatureReference.objects.get()
    assert ([each["name"] for each in json.loads(row.layout)["features"]], row.report) == (["x"], "q" * 64)
