"""The alarms by REST and as a file: who reads, acknowledges and sets, and what is refused."""

from __future__ import annotations

import pytest

from apps.site.security_alarms.models import RuleSetting, SecurityAlarm
from tests.apps.site.security_alarms.test_evaluate_rules import MONDAY_NOON

pytestmark = pytest.mark.django_db
API = "/api/v1/security-alarms"
JSON = {"content_type": "application/json"}


@pytest.fixture
def alarms(db):
    facts = {"count": 20, "first_seq": 1, "last_seq": 20, "first_at": MONDAY_NOON, "last_at": MONDAY_NOON}
    return [SecurityAlarm.objects.create(rule="refusals", key=key, **facts) for key in ("eve", "mallory")]


def list_keys(client, query=""):
    return [row["key"] for row in client.get(f"{API}{query}").json()["items"]]


def test_a_program_lists_and_a_person_acknowledges(api, web, secadmin, auditor, alarms):
    client = web(auditor)
    assert list_keys(client) == ["mallory", "eve"]
    assert list_keys(client, "?q=eve") == ["eve"]
    assert client.get(f"{API}?state=lost").status_code == 422
    address = f"{API}/{alarms[0].pk}"
    assert web(secadmin).post(f"{address}/acknowledge", {"reason": " "}, **JSON).status_code == 422
    answer = web(secadmin).post(f"{address}/acknowledge", {"reason": "A drill."}, **JSON)
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "acknowledged", "A drill.")
    assert web(secadmin).post(f"{address}/acknowledge", {"reason": "Again."}, **JSON).status_code == 409
    assert list_keys(client) == ["mallory"]
    assert list_keys(client, "?state=all&rule=refusals") == ["mallory", "eve"]
    assert client.get(f"{API}/9999").status_code == 404


def test_rules_are_read_and_set(web, secadmin, auditor):
    body = {"threshold": 3, "minutes": 5, "is_enabled": True}
    assert web(auditor).put(f"{API}/rules/refusals", body, **JSON).status_code == 403
    assert web(secadmin).put(f"{API}/rules/none", body, **JSON).status_code == 404
    assert web(secadmin).put(f"{API}/rules/refusals", body | {"minutes": 1441}, **JSON).status_code == 422
    assert not RuleSetting.objects.exists()
    assert web(secadmin).put(f"{API}/rules/refusals", body, **JSON).json()["threshold"] == 3
    rules = {row["name"]: row["threshold"] for row in web(auditor).get(f"{API}/rules").json()}
    assert (rules["refusals"], rules["exports"]) == (3, 20)


def test_the_page_is_a_file_too(web, auditor, engineer, alarms):
    text = b"".join(web(auditor).get("/security-alarms?format=csv").streaming_content).decode()
    assert [line.split(",")[:3] for line in text.splitlines()[1:]] == [
        ["refusals", "mallory", "20"],
        ["refusals", "eve", "20"],
    ]
    assert web(engineer).get(API).status_code == 403
    assert web(engineer).get("/security-alarms?format=csv").status_code in (403, 404)
