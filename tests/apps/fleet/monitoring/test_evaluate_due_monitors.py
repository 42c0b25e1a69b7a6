"""Windows are evaluated once each, whenever the dispatcher comes and dies, and open one alarm per cause."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.fleet.monitoring.models import Alarm, Monitor, Window
from apps.fleet.monitoring.services import acknowledge_alarm, close_alarm, evaluating
from apps.fleet.monitoring.states import AlarmState, Verdict
from apps.ml.observations.models import ObservationSource
from apps.platform.audit.models import AuditRecord
from tests.apps.fleet.monitoring.conftest import LATER, NOON
from tests.forks import kill_at

HOUR = timedelta(hours=1)


def list_verdicts(monitor):
    return list(monitor.windows.order_by("until").values_list("verdict", flat=True))


@pytest.mark.parametrize(
    ("right", "rule", "verdict"),
    [(86, "relative", "good"), (85, "relative", "worse"), (85, "absolute", "good"), (84, "absolute", "worse")],
)
def test_accuracy_down_by_more_than_five_percent(create, answer, evaluate, right, rule, verdict):
    monitor = create(rule=rule)
    answer(NOON - HOUR, right, 100 - right)
    assert evaluate() == 1
    window = monitor.windows.get()
    assert (window.verdict, window.count, window.value) == (verdict, 100, right / 100)
    assert window.line == pytest.approx(0.855 if rule == "relative" else 0.85)
    assert window.low < window.value < window.high


def test_an_error_that_grows(create, source, answer, evaluate):
    ObservationSource.objects.filter(pk=source.pk).update(task="regression")
    monitor = create(metric="error")
    answer(NOON - HOUR, 100, error_sum=220.0, error_square_sum=500.0)
    evaluate()
    window = monitor.windows.get()
    assert (window.verdict, window.value, window.line) == ("worse", 2.2, pytest.approx(2.1))


def test_macro_f1_of_the_window(create, answer, evaluate):
    monitor = create(metric="f1")
    answer(NOON - HOUR, 80, 20)
    evaluate()
    assert monitor.windows.get().value == pytest.approx(0.5 * 160 / 180)


def test_few_labels_and_no_reference_are_no_alarm(create, answer, evaluate, version):
    answer(NOON - HOUR, 0, 9)
    monitor = create()
    evaluate()
    version.metrics = []
    version.save()
    answer(NOON, 0, 50)
    evaluate(NOON + HOUR + LATER)
    assert list_verdicts(monitor) == ["few", "no_reference"]
    assert not Alarm.objects.exists()


def test_an_hour_is_evaluated_once_and_some_minutes_after_its_end(monitor, evaluate):
    assert [evaluate(), evaluate()] == [1, 0]
    assert evaluate(NOON + HOUR + timedelta(minutes=4)) == 0
    assert evaluate(NOON + HOUR + LATER) == 1
    assert list(monitor.windows.order_by("until").values_list("until", flat=True)) == [NOON, NOON + HOUR]


@pytest.mark.django_db(transaction=True)
def test_a_kill_before_the_end_of_a_window_leaves_none_and_the_next_round_alarms_once(create, answer, evaluate):
    monitor = create()
    answer(NOON - HOUR, 50, 50)
    assert kill_at(Monitor, "save", evaluate), "the window and its alarm are saved, and not committed"
    assert not Window.objects.exists()
    assert not Alarm.objects.exists()
    assert [evaluate(), evaluate()] == [1, 0]
    assert list_verdicts(monitor) == ["worse"]
    assert Alarm.objects.get().state == AlarmState.OPEN


def test_what_was_missed_is_made_up_for_in_order(monitor, answer, evaluate):
    answer(NOON + HOUR, 50, 50)
    assert evaluate(NOON + 4 * HOUR + LATER) == 5
    assert list_verdicts(monitor) == ["few", "few", "worse", "few", "few"]


def test_labels_are_waited_for(create, answer, evaluate):
    monitor = create(lag_hours=24)
    answer(NOON - 25 * HOUR, 50, 50)
    evaluate()
    assert monitor.windows.get().until == NOON - 24 * HOUR
    assert Alarm.objects.get().since == NOON - 24 * HOUR


def test_one_alarm_is_opened_however_long_it_lasts(monitor, answer, evaluate):
    for hour in range(3):
        answer(NOON + (hour - 1) * HOUR, 50, 50)
        evaluate(NOON + hour * HOUR + LATER)
    alarm = Alarm.objects.get()
    assert (alarm.cause, alarm.state, alarm.windows, alarm.last_bad_at) == ("drop", "open", 3, NOON + 2 * HOUR)
    assert AuditRecord.objects.filter(action="alarm.open").count() == 1


def test_the_evidence_names_versions_and_the_worst_sources(create, project, source, answer, evaluate):
    other = ObservationSource.objects.create(project=project, name="bad", task="classification", created_by="test")
    create()
    answer(NOON - HOUR, 95, 5)
    answer(NOON - HOUR, 10, 40, to=other)
    evaluate()
    evidence = Alarm.objects.get().evidence
    assert [(row["source"], row["value"], row["count"]) for row in evidence["by_source"]] == [
        ("bad", 0.2, 50),
        ("live", 0.95, 100),
    ]
    assert [(row["version"], row["recorded"], row["count"]) for row in evidence["by_version"]] == [(1, 0.9, 150)]
    assert (evidence["whole"]["value"], evidence["reference"]) == (0.7, 0.9)


def test_since_is_the_first_bad_window_after_a_good_one(create, answer, evaluate):
    create(cooldown_hours=0)
    answer(NOON - HOUR, 95, 5)
    answer(NOON, 50, 50)
    evaluate(NOON + 2 * HOUR + LATER)
    assert Alarm.objects.get().since == NOON + HOUR


def test_an_alarm_that_was_read_is_closed_by_a_good_window(alarm, answer, evaluate, actor_for, engineer):
    answer(NOON, 95, 5)
    evaluate(NOON + HOUR + LATER)
    alarm.refresh_from_db()
    assert alarm.state == AlarmState.OPEN  # nobody has read it
    acknowledge_alarm(actor=actor_for(engineer), alarm=alarm, reason="a lens was dirty")
    answer(NOON + HOUR, 95, 5)
    evaluate(NOON + 2 * HOUR + LATER)
    alarm.refresh_from_db()
    assert (alarm.state, alarm.reason) == (AlarmState.CLOSED, "a lens was dirty")


def test_after_one_was_closed_the_next_waits_for_the_cool_down(alarm, answer, evaluate, actor_for, engineer):
    acknowledge_alarm(actor=actor_for(engineer), alarm=alarm, reason="known")
    close_alarm(actor=actor_for(engineer), alarm=alarm)
    Alarm.objects.update(closed_at=NOON)
    for hour in (0, 24):
        answer(NOON + hour * HOUR, 50, 50)
        evaluate(NOON + (hour + 1) * HOUR + LATER)
        assert Alarm.objects.count() == (1 if hour == 0 else 2)


def test_a_round_that_is_killed_leaves_nothing_and_the_next_does_it_once(monitor, answer, evaluate, monkeypatch):
    answer(NOON - HOUR, 50, 50)
    find = evaluating.open_alarm

    def die(*args, **kwargs):
        find(*args, **kwargs)
        raise SystemExit

    monkeypatch.setattr(evaluating, "open_alarm", die)
    with pytest.raises(SystemExit):
        evaluate()
    assert (Window.objects.count(), Alarm.objects.count()) == (0, 0)
    monkeypatch.setattr(evaluating, "open_alarm", find)
    assert evaluate() == 1
    assert (Window.objects.get().verdict, Alarm.objects.count()) == (Verdict.WORSE, 1)


def test_a_fault_in_one_monitor_delays_that_one_alone(monitor, create, evaluate, answer):
    Monitor.objects.filter(pk=monitor.pk).update(group="gone")
    other = create(name="other")
    answer(NOON - HOUR, 95, 5)
    assert evaluate() == 1
    assert list_verdicts(other) == ["good"]
    monitor.refresh_from_db()
    assert monitor.next_at > NOON + LATER


def test_silence_is_an_alarm_and_the_first_answer_ends_it(create, answer, evaluate, actor_for, engineer):
    create(silence_hours=3)
    answer(NOON, 5)
    for hour in (1, 2, 3):
        evaluate(NOON + hour * HOUR + LATER)
    assert not Alarm.objects.exists()
    evaluate(NOON + 4 * HOUR + LATER)
    alarm = Alarm.objects.get()
    assert (alarm.cause, alarm.since) == ("silence", NOON + HOUR)
    acknowledge_alarm(actor=actor_for(engineer), alarm=alarm, reason="the line stands still")
    answer(NOON + 4 * HOUR, 5)
    evaluate(NOON + 5 * HOUR + LATER)
    alarm.refresh_from_db()
    assert alarm.state == AlarmState.CLOSED


def test_a_window_is_a_few_statements(monitor, answer, evaluate, django_assert_max_num_queries, project):
    for number in range(20):
        each = ObservationSource.objects.create(
            project=project, name=f"press-{number}", task="classification", created_by="test"
        )
        answer(NOON - HOUR, 19, 1, to=each)
    with django_assert_max_num_queries(20):
        evaluate()
