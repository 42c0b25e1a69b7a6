"""Rules count new audit records once, and raise what reaches its threshold."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.sealer import seal_all
from apps.platform.audit.services import record
from apps.platform.notices.models import Notice
from apps.site.security_alarms import services
from apps.site.security_alarms.models import SecurityAlarm, StreamPosition
from apps.site.security_alarms.notices import describe_alarm
from apps.site.security_alarms.rules import RULES, Event, weigh_download
from apps.site.security_alarms.services import acknowledge_alarm, count_events, evaluate_rules, set_rule

pytestmark = [pytest.mark.django_db, pytest.mark.services]
MONDAY_NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def event(seq=1, action="user.log_in", result="failed", object_id="eve", at=MONDAY_NOON, actor="eve"):
    return Event(seq, at, actor, action, result, "user", object_id)


@pytest.fixture
def begun(worker_actor, secadmin):
    """The evaluation stands at the end of the trail."""
    seal_all()
    evaluate_rules(actor=worker_actor)


@pytest.fixture
def log_ins_fail(worker_actor):
    def fail(count, name="eve"):
        for _ in range(count):
            record(actor=worker_actor, action="user.log_in", object_type="user", object_id=name, result="failed")
        seal_all()
        return evaluate_rules(actor=worker_actor)

    return fail


def test_a_burst_of_failed_log_ins_is_an_alarm_with_a_notice(begun, log_ins_fail, secadmin):
    assert log_ins_fail(9) == 0
    assert log_ins_fail(1) == 1
    alarm = SecurityAlarm.objects.get()
    assert (alarm.rule, alarm.key, alarm.count, alarm.state) == ("failed_log_ins", "eve", 10, "open")
    assert Notice.objects.get(recipient=secadmin).path == "/security-alarms"
    assert AuditRecord.objects.filter(action="security_alarm.raise").count() == 1


def test_a_second_run_or_a_restart_raises_nothing_again(begun, log_ins_fail, worker_actor):
    log_ins_fail(10)
    assert [evaluate_rules(actor=worker_actor) for _ in range(2)] == [0, 0]
    log_ins_fail(10)  # while it is open, they are counted in it
    assert SecurityAlarm.objects.get().count == 20


def test_a_burst_after_the_acknowledgement_is_an_alarm_of_its_own(begun, log_ins_fail, secadmin, actor_for):
    log_ins_fail(10)
    acknowledge_alarm(actor=actor_for(secadmin), pk=SecurityAlarm.objects.get().pk, reason="A test of ours.")
    assert (log_ins_fail(9), log_ins_fail(1)) == (0, 1)
    assert sorted(SecurityAlarm.objects.values_list("state", "count")) == [("acknowledged", 10), ("open", 10)]


def test_a_run_that_is_cut_off_leaves_nothing_and_is_done_again(begun, log_ins_fail, worker_actor, monkeypatch):
    position = StreamPosition.objects.get().seq

    def die(alarm):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(services, "notify_raised", die)
        with pytest.raises(KeyboardInterrupt):
            log_ins_fail(10)
    assert StreamPosition.objects.get().seq == position
    assert not SecurityAlarm.objects.exists()
    assert evaluate_rules(actor=worker_actor) == 1


def test_each_rule_finds_its_events_and_no_others():
    events = {
        "failed_log_ins": event(),
        "refusals": event(action="job.submit", result="refused"),
        "role_change": event(action="user.set_system_role", result="done"),
        "broken_trail": event(action="audit.verify", result="failed"),
        "exports": event(action="list.export", result="done"),
        "download_volume": event(action="artifact.download", result="done"),
        "malware": event(action="artifact.malware_found", result="done"),
        "emergency": event(action="emergency.request", result="done"),
        "late_administration": event(action="member.remove", result="done", at=MONDAY_NOON.replace(hour=23)),
    }
    assert set(events) == set(RULES)
    found = {
        name: sorted(r for r, rule in RULES.items() if rule.find_key(one) is not None) for name, one in events.items()
    }
    assert found == {name: [name] for name in events}
    assert RULES["late_administration"].find_key(event(action="member.remove", result="done")) is None
    saturday = event(action="member.remove", result="done", at=MONDAY_NOON - timedelta(days=2))
    assert RULES["late_administration"].find_key(saturday) == "eve"


def test_what_is_spread_over_more_than_the_window_is_none(worker_actor):
    windows: dict = {}
    slow = [event(seq, at=MONDAY_NOON + timedelta(minutes=2 * seq)) for seq in range(50)]
    assert count_events(worker_actor, windows, slow) == 0
    assert len(windows["failed_log_ins"]["eve"]) <= 5


def test_invented_names_do_not_fill_the_row(worker_actor, monkeypatch):
    monkeypatch.setattr(services, "MAX_KEYS", 10)
    windows: dict = {}
    count_events(worker_actor, windows, [event(seq, object_id=f"name-{seq}") for seq in range(100)])
    assert len(windows["failed_log_ins"]) == 10


def test_a_rule_that_is_off_raises_nothing(begun, log_ins_fail, secadmin, actor_for):
    set_rule(actor=actor_for(secadmin), rule="failed_log_ins", threshold=10, minutes=10, is_enabled=False)
    assert log_ins_fail(10) == 0


def test_a_hundred_thousand_records_are_counted_in_bounded_time(worker_actor):
    results = ("refused", "done", "done", "done", "done", "done", "done")
    events = [
        event(seq, "job.submit", results[seq % 7], "", MONDAY_NOON + timedelta(seconds=seq), f"user-{seq % 500}")
        for seq in range(100_000)
    ]
    began, windows = time.process_time(), {}
    for start in range(0, len(events), services.RECORDS_PER_TRANSACTION):
        assert count_events(worker_actor, windows, events[start : start + services.RECORDS_PER_TRANSACTION]) == 0
    assert time.process_time() - began < 10
    assert len(windows["refusals"]) <= 500


def test_many_downloads_below_a_high_threshold_stay_few_entries(worker_actor, secadmin, actor_for):
    set_rule(actor=actor_for(secadmin), rule="download_volume", threshold=10_000, minutes=1440, is_enabled=True)
    body = json.dumps({"after": {"bytes": 16 << 20, "downloads": 1}})
    events = [
        event(seq, "artifact.download", "done", "0" * 64, MONDAY_NOON + timedelta(seconds=seq), "ann")._replace(
            body=body
        )
        for seq in range(1, 20_001)
    ]
    windows: dict = {}
    for start in range(0, len(events), services.RECORDS_PER_TRANSACTION):
        assert count_events(worker_actor, windows, events[start : start + services.RECORDS_PER_TRANSACTION]) == 0
    entries = windows["download_volume"]["ann"]
    assert len(entries) <= services.ENTRIES_PER_WINDOW
    assert sum(weight for _seq, _seconds, weight in entries) == pytest.approx(20_000 * (16 << 20) / 10**9)


def test_bodies_are_read_of_what_is_weighed_alone(begun, worker_actor, monkeypatch):
    record(actor=worker_actor, action="job.submit", object_type="job", object_id="1")
    record(actor=worker_actor, action="artifact.download", object_type="artifact", object_id="a", after={"bytes": 5})
    seal_all()
    read = []
    monkeypatch.setattr(services, "count_events", lambda actor, windows, events: read.extend(events) or 0)
    evaluate_rules(actor=worker_actor)
    assert {each.action: bool(each.body) for each in read} == {"job.submit": False, "artifact.download": True}


def test_only_the_worker_may(actor_for, secadmin):
    with pytest.raises(Refused):
        evaluate_rules(actor=actor_for(secadmin))


def test_gigabytes_of_one_account_within_an_hour_are_an_alarm(begun, worker_actor, secadmin):
    def download(gigabytes, number):
        body = json.dumps({"after": {"bytes": gigabytes * 10**9, "downloads": 1}})
        at = MONDAY_NOON + timedelta(minutes=20 * number)
        return event(number, "artifact.download", "done", "0" * 64, at, "ann")._replace(body=body)

    windows = {"download_volume": {"ann": [[0, MONDAY_NOON.timestamp()]]}}  # as a former release has left it
    assert count_events(worker_actor, windows, [download(30, 1), download(15, 2)]) == 0
    assert count_events(worker_actor, windows, [download(30, 4)]) == 0  # the first is older than an hour
    assert count_events(worker_actor, windows, [download(6, 4.75)]) == 1
    alarm = SecurityAlarm.objects.get()
    assert (alarm.rule, alarm.key, alarm.count) == ("download_volume", "ann", 51)
    assert "51 GB" in str(describe_alarm(alarm))
    assert weigh_download(event(1, "artifact.download")._replace(body="{")) == 0
