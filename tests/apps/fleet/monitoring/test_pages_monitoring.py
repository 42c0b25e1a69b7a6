"""Pages of monitors and alarms."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from apps.fleet.monitoring.models import Alarm, DriftWindow, Monitor
from apps.platform.notices.models import Notice
from tests.apps.fleet.monitoring.conftest import LATER, NOON


@pytest.fixture
def url(project):
    return lambda name, *args: reverse(f"monitoring:{name}", args=[project.slug, *args])


def test_the_list_is_empty_and_says_what_a_monitor_is(browser, engineer, url, version):
    page = browser(engineer).get(url("list"))
    assert page.status_code == 200
    assert "No monitors yet" in page.text


def test_a_monitor_is_created_in_the_browser(browser, engineer, viewer, url, version, source):
    form = {
        "name": "watch",
        "model": "press",
        "metric": "accuracy",
        "source": "live",
        "limit": "0.1",
        "rule": "absolute",
    }
    form |= {"certainty": "interval", "window_hours": "6", "lag_hours": "", "reference": "", "silence_hours": "3"}
    assert browser(viewer).post(url("list"), form).status_code == 403
    answer = browser(engineer).post(url("list"), form)
    monitor = Monitor.objects.get()
    assert answer.url == url("monitor", monitor.pk)
    assert (monitor.limit, monitor.lag_hours, monitor.reference, monitor.silence_hours) == (0.1, 0, None, 3)
    assert "Its first window" in browser(engineer).get(answer.url).text


@pytest.mark.parametrize(("field", "value"), [("limit", "a"), ("limit", "7"), ("window_hours", "0"), ("name", "")])
def test_a_bad_field_is_named_on_the_form(browser, engineer, url, version, source, field, value):
    form = {"name": "watch", "model": "press", "metric": "accuracy", "limit": "0.1", field: value}
    page = browser(engineer).post(url("list"), form)
    assert page.status_code == 422
    assert "/" + field in page.text or f'name="{field}"' in page.text
    assert not Monitor.objects.exists()


def test_the_monitor_shows_its_chart_its_slices_and_its_alarm(browser, viewer, url, monitor, answer, evaluate):
    answer(NOON - timedelta(hours=1), 95, 5)
    answer(NOON, 50, 50)
    evaluate(NOON + timedelta(hours=1) + LATER)
    page = browser(viewer).get(url("monitor", monitor.pk))
    assert page.status_code == 200
    assert all(text in page.text for text in ("<svg", "85.5 %", "50.0 %", "Alarm line", "live"))
    assert "Save" not in page.text  # a viewer changes nothing
    assert browser(viewer).get(url("monitor", monitor.pk + 1)).status_code == 404


def test_the_page_of_a_monitor_is_a_few_queries(browser, engineer, url, alarm, django_assert_max_num_queries):
    visitor = browser(engineer)
    visitor.get(url("monitor", alarm.monitor_id))
    with django_assert_max_num_queries(20):
        visitor.get(url("monitor", alarm.monitor_id))


def test_an_alarm_is_acknowledged_with_a_reason_and_its_notices_are_settled(browser, engineer, viewer, url, alarm):
    assert Notice.objects.filter(kind="alarm.opened", recipient=engineer, read_at=None).count() == 1
    page = browser(viewer).get(url("alarm", alarm.pk))
    assert "50.0 %" in page.text
    assert url("acknowledge", alarm.pk) not in page.text
    visitor = browser(engineer)
    assert url("acknowledge", alarm.pk) in visitor.get(url("alarm", alarm.pk)).text
    visitor.post(url("acknowledge", alarm.pk), {"reason": ""})
    assert Alarm.objects.get().state == "open"
    visitor.post(url("acknowledge", alarm.pk), {"reason": "a lens was dirty"})
    assert Alarm.objects.get().state == "acknowledged"
    assert not Notice.objects.filter(kind="alarm.opened", read_at=None).exists()
    assert "a lens was dirty" in visitor.get(url("alarm", alarm.pk)).text
    visitor.post(url("close", alarm.pk), {"reason": "cleaned"})
    assert Alarm.objects.get().state == "closed"


def test_pausing_and_deleting(browser, engineer, url, monitor):
    visitor = browser(engineer)
    visitor.post(url("pause", monitor.pk), {"reason": "moving"})
    assert "Resume" in visitor.get(url("monitor", monitor.pk)).text
    visitor.post(url("resume", monitor.pk))
    visitor.post(url("delete", monitor.pk), {"reason": "done"})
    assert not Monitor.objects.exists()


def test_a_stranger_finds_nothing(browser, stranger, url, alarm):
    pages = (url("list"), url("monitor", alarm.monitor_id), url("alarm", alarm.pk))
    assert {browser(stranger).get(page).status_code for page in pages} == {404}


def test_features_stand_sorted_by_drift_on_the_page_and_in_the_list(browser, api, viewer, url, monitor, project):
    drifts = {"colour": ("changed", 0.4, "chi_square"), "x": ("stable", 0.01, "ks")}
    features = [
        {
            "name": name,
            "kind": "number" if test == "ks" else "category",
            "verdict": verdict,
            "message": name,
            "tests": [{"name": test, "value": value, "p": 0.5, "corrected_p": 1.0, "verdict": verdict}],
            "corrected_p": 1.0,
            "missing_share": 0.0,
            "unseen_share": 0.1,
            "unseen": ["<b>green</b>"],
        }
        for name, (verdict, value, test) in drifts.items()
    ]
    facts = {"verdict": "changed", "rows": 400, "drifted": 1, "features": features}
    DriftWindow.objects.create(monitor=monitor, until=NOON, **facts)
    page = browser(viewer).get(url("monitor", monitor.pk)).text
    assert re.findall('data-feature="([^"]*)"', page) == ["colour", "x"]
    assert "V 0.400" in page
    assert "<b>green" not in page
    rows = (
        api(viewer).get(f"/api/v1/projects/{project.slug}/monitors/{monitor.pk}/drift?verdict=changed").json()["items"]
    )
    assert [(row["drifted"], row["features"][0]["name"]) for row in rows] == [(1, "colour")]
