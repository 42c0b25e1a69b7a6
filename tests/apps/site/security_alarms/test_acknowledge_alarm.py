"""The page of alarms: who sees it, acknowledges and sets thresholds, and what is refused."""

from __future__ import annotations

import pytest

from apps.platform.audit.models import AuditRecord
from apps.site.security_alarms.models import RuleSetting, SecurityAlarm
from tests.apps.site.security_alarms.test_evaluate_rules import MONDAY_NOON

pytestmark = pytest.mark.django_db
PAGE = "/security-alarms"


@pytest.fixture
def alarm(db):
    return SecurityAlarm.objects.create(
        rule="refusals", key="eve", count=20, first_seq=1, last_seq=20, first_at=MONDAY_NOON, last_at=MONDAY_NOON
    )


def test_a_person_acknowledges_it_with_a_reason(web, secadmin, alarm):
    assert b"eve" in web(secadmin).get(PAGE).content
    answer = web(secadmin).post(PAGE, {"alarm": alarm.pk, "reason": "A test of ours."})
    assert answer.status_code == 302
    alarm.refresh_from_db()
    assert (alarm.state, alarm.acknowledged_by, alarm.reason) == ("acknowledged", secadmin.username, "A test of ours.")
    assert AuditRecord.objects.filter(action="security_alarm.acknowledge").count() == 1
    assert web(secadmin).post(PAGE, {"alarm": alarm.pk, "reason": "Again"}).status_code == 409


def test_a_reason_and_an_alarm_are_needed(web, secadmin, alarm):
    answers = [
        web(secadmin).post(PAGE, sent).status_code
        for sent in ({"alarm": alarm.pk, "reason": " "}, {"alarm": alarm.pk, "reason": "x" * 401}, {"alarm": "x"})
    ]
    assert answers == [422, 422, 404]
    alarm.refresh_from_db()
    assert alarm.state == "open"


def test_thresholds_are_set_by_the_security_administrator(web, secadmin, auditor):
    sent = {"rule": "refusals", "threshold": "3", "minutes": "5", "is_enabled": "on"}
    assert web(secadmin).post(PAGE, sent).status_code == 302
    assert RuleSetting.objects.get().threshold == 3
    wrong = [{"threshold": "0"}, {"threshold": "x"}, {"minutes": "1441"}, {"rule": "none"}, {"rule": ""}]
    assert [web(secadmin).post(PAGE, sent | each).status_code for each in wrong] == [422] * 5
    assert web(auditor).post(PAGE, sent | {"threshold": "9"}).status_code == 403
    assert RuleSetting.objects.get().threshold == 3


def test_members_see_nothing_of_it(web, engineer, alarm):
    assert web(engineer).get(PAGE).status_code in (403, 404)
    assert web(engineer).post(PAGE, {"alarm": alarm.pk, "reason": "x"}).status_code in (403, 404)
