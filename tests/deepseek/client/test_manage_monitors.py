"""deepseek monitors, deepseek alarms."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from apps.fleet.monitoring.models import Alarm, DriftWindow, Monitor
from apps.ml.registry.models import Model

DRIFT_FIELDS = ("watches_inputs", "drift_alpha", "drift_correction")
pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_from_a_monitor_to_its_alarm(cli, project, viewer, say_end):
    Model.objects.create(project=project, name="press")
    made = read(cli("monitors", "create", "watch", "press", "accuracy", "--limit", "0.1", "--silence-hours", "6"))
    assert (made["limit"], made["silence_hours"], made["rule"]) == (0.1, 6, "relative")
    assert cli("monitors", "ls", "--model", "press").stdout.splitlines()[1].split()[:2] == [str(made["id"]), "watch"]
    assert read(cli("monitors", "update", made["id"], "--rule", "absolute"))["rule"] == "absolute"
    assert read(cli("monitors", "pause", made["id"]))["state"] == "paused"
    assert read(cli("monitors", "resume", made["id"]))["state"] == "active"
    assert cli("monitors", "windows", made["id"]).returncode == 0
    drift = ("--no-watches-inputs", "--drift-alpha", "0.05", "--drift-correction", "benjamini_hochberg")
    changed = read(cli("monitors", "update", made["id"], *drift))
    assert [changed[name] for name in DRIFT_FIELDS] == [False, 0.05, "benjamini_hochberg"]
    features = [{"name": "radius", "verdict": "changed"}, {"name": "area", "verdict": "stable"}]
    facts = {"verdict": "changed", "rows": 9, "drifted": 1, "features": features, "until": timezone.now()}
    DriftWindow.objects.create(monitor_id=made["id"], **facts)
    assert "radius" in cli("monitors", "drift", made["id"], "--verdict", "changed").stdout
    assert read(cli("monitors", "drift", made["id"], "--json"))[0]["features"] == features
    say_end(cli("monitors", "update", made["id"], "--drift-alpha", "2"), 2, "drift_alpha")
    say_end(cli("monitors", "retry", "99"), 2, "no retraining")
    assert "press" in cli("monitors", "show", made["id"]).stdout
    say_end(cli("monitors", "retrain", made["id"], "--min-rows", "50"), 2, "has no version")
    assert cli("monitors", "retrain", made["id"], "--off").returncode == 0
    assert cli("monitors", "retrainings", made["id"]).returncode == 0
    say_end(cli("monitors", "update", made["id"]), 2, "nothing to change")
    say_end(cli("monitors", "create", "other", "press", "accuracy", who=viewer), 2, "may not do monitor.create")
    now = timezone.now()
    facts = {"cause": "drop", "evidence": {}, "since": now, "last_bad_at": now, "opened_at": now}
    alarm = Alarm.objects.create(project=project, monitor_id=made["id"], **facts)
    assert "drop" in cli("alarms", "ls", "--state", "open").stdout
    assert read(cli("alarms", "show", alarm.pk))["evidence"] == {}
    assert read(cli("alarms", "ack", alarm.pk, "--reason", "dirty lens"))["reason"] == "dirty lens"
    assert read(cli("alarms", "close", alarm.pk))["state"] == "closed"
    say_end(cli("monitors", "rm", made["id"]), 2, "kept")
    assert Monitor.objects.count() == 1
