"""REST: who may read, verify and export what, and that reading leaves a record."""

from __future__ import annotations

import json

import pytest
from django.db import transaction

from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import record
from apps.platform.audit.verification_runs import run_queued_verification
from apps.platform.audit.verifier.verify import open_export, verify_export

pytestmark = [pytest.mark.django_db, pytest.mark.services]
RECORDS = "/api/v1/audit/records"


@pytest.fixture
def facts(project, other_project, somebody, dispatcher):
    record(actor=somebody, action="job.submit", obj=project, reason="mine")
    record(actor=somebody, action="job.cancel", obj=other_project, reason="theirs", result="refused")
    record(actor=dispatcher, action="user.log_in", object_type="user", object_id=3)


def actions(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [item["action"] for item in answer.json()["items"]]


def test_the_auditor_reads_everything_and_is_recorded(api, auditor, facts):
    client = api(auditor)
    assert actions(client.get(RECORDS)) == ["audit.view", "user.log_in", "job.cancel", "job.submit"]
    assert AuditRecord.objects.filter(action="audit.view", actor="auditor").count() == 1
    item = client.get(RECORDS).json()["items"][-1]
    assert json.loads(item["body"]) == item["facts"]


def test_a_member_reads_their_project_and_is_not_recorded(api, engineer, facts):
    assert actions(api(engineer).get(RECORDS)) == ["job.submit"]
    assert not AuditRecord.objects.filter(action="audit.view").exists()


def test_a_token_without_read_reads_nothing(api, make_token, engineer, facts):
    secret, _ = make_token(engineer, scopes=["jobs:write"])
    answer = api(secret).get(RECORDS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")


FILTERS = {
    "actor=somebody": ["job.cancel", "job.submit"],
    "action=job.submit": ["job.submit"],
    "action=job.": ["job.cancel", "job.submit"],
    "object_type=user&object_id=3": ["user.log_in"],
    "project=demo": ["audit.view", "job.submit"],
    "result=refused": ["job.cancel"],
    "from=2200-01-01": [],
    "to=2001-01-01": [],
    "from=2001-01-01&actor=somebody&result=done": ["job.submit"],
}


def test_filters(api, auditor, facts):
    client, found = api(auditor), {}
    for query in FILTERS:
        with transaction.atomic():  # the record of each look is taken back
            found[query] = actions(client.get(f"{RECORDS}?{query}"))
            transaction.set_rollback(True)
    assert found == FILTERS


def test_an_invalid_filter_is_named(api, auditor):
    client = api(auditor)
    for query in ("result=perhaps", "from=yesterday", "to=2026-13-01", "project=none"):
        answer = client.get(f"{RECORDS}?{query}")
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, query.partition("=")[0])


def test_pages_by_cursor(api, auditor, write):
    write(5)
    client = api(auditor)
    first = client.get(f"{RECORDS}?limit=2&actor=somebody").json()
    second = client.get(f"{RECORDS}?limit=2&actor=somebody&cursor={first['next']}").json()
    ids = [item["id"] for item in [*first["items"], *second["items"]]]
    assert len(set(ids)) == 4
    assert ids == sorted(ids, reverse=True)


def test_chain_then_verify_then_chain(api, auditor, chain, dispatcher):
    client = api(auditor)
    assert client.get("/api/v1/audit/chain").json()["state"] == "unverified"
    asked = client.post("/api/v1/audit/verify")
    assert (asked.status_code, asked.json()["verification"]["state"], asked.json()["recent"]) == (202, "queued", None)
    run_queued_verification(dispatcher)
    state = client.get("/api/v1/audit/chain").json()
    assert (state["state"], state["verified_seq"], state["last_checkpoint"]["seq"]) == ("whole", 10, 10)
    assert (state["verified_by"], state["verification"]["whole"]) == ("auditor", True)


def test_a_broken_chain_says_so(api, auditor, chain, owner, dispatcher):
    owner("UPDATE audit_auditrecord SET body = '{}' WHERE seq = 4")
    client = api(auditor)
    client.post("/api/v1/audit/verify")
    run_queued_verification(dispatcher)
    state = client.get("/api/v1/audit/chain").json()
    assert (state["state"], "record 4" in state["finding"]) == ("broken", True)
    assert "record 4" in state["verification"]["finding"]


def test_the_export_streams_and_verifies(api, auditor, chain, tmp_path):
    answer = api(auditor).get("/api/v1/audit/export?reason=review")
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(answer.streaming_content))
    report = verify_export(open_export(path))
    assert (report.finding, report.records) == (None, 11)
    assert AuditRecord.objects.get(action="audit.export").actor == "auditor"


def test_an_export_takes_filters_and_signs_them(api, auditor, chain, somebody, tmp_path, monkeypatch):
    client = api(auditor)
    query = "action=thing.change&object_id=3&result=done"
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(client.get(f"/api/v1/audit/export?{query}&to_seq=9").streaming_content))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    whole = [json.loads(line["body"]) for line in lines if "body" in line]
    assert {(one["action"], one["object"]["id"]) for one in whole} == {("thing.change", "3")}
    report = verify_export(open_export(path))
    assert (report.finding, report.withheld) == (None, report.records - len(whole))
    asked = {"action": "thing.change", "object_id": "3", "result": "done"}
    assert lines[-1]["filters"] == asked
    assert json.loads(AuditRecord.objects.get(action="audit.export").body)["after"]["filters"] == asked
    path.write_text(path.read_text().replace('"object_id":"3","result":"done"', '"object_id":"4","result":"done"'))
    assert verify_export(open_export(path)).finding is not None
    monkeypatch.setattr("apps.platform.audit.trail_export.MAX_FILTERED_RECORDS", 3)
    error = client.get("/api/v1/audit/export?action=thing.").json()["error"]
    assert (error["code"], error["field"], error["limit"]) == ("too_many_to_export", "filters", "3")
    assert AuditRecord.objects.filter(action="audit.export").count() == 1


def test_an_export_of_nothing_names_the_filters_and_no_bound_of_records(api, auditor, project, chain):
    client = api(auditor)
    for query, field, said in (
        ("actor=nobody&to_seq=9", "actor", "No record from 1 to 9 matches actor=nobody."),
        ("job=7&from=2031-01-01T00:00:00Z&to_seq=9", "filters", "job=7, from=2031-01-01T00:00:00+00:00."),
        ("project=demo&actor=nobody&to_seq=9", "filters", "actor=nobody, project=demo."),
    ):
        error = client.get(f"/api/v1/audit/export?{query}").json()["error"]
        assert (error["code"], error["field"], error["limit"]) == ("nothing_to_export", field, "at least 1 record")
        assert error["message"].endswith(said)
        assert "Change or clear the filters" in error["hint"]
    assert not AuditRecord.objects.filter(action="audit.export").exists()


def test_an_invalid_export_is_named(api, auditor, chain):
    client = api(auditor)
    for query in (
        "from_seq=0",
        "from_seq=x",
        "to_seq=99999999999999999999",
        "from_seq=50",
        "project=no",
        "result=x",
        "from=x",
    ):
        answer = client.get(f"/api/v1/audit/export?{query}")
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, query.split("=")[0])


def test_only_the_auditor(api, engineer, viewer, approver, sysadmin, secadmin):
    found = {}
    for user in (engineer, viewer, approver, sysadmin, secadmin):
        client, refused = api(user), AuditRecord.objects.filter(result="refused", actor=user.username)
        for method, path in (("get", "chain"), ("post", "verify"), ("get", "export")):
            before = refused.count()
            status = getattr(client, method)(f"/api/v1/audit/{path}").status_code
            found[user.username, path] = (status, refused.count() - before)
    assert found == dict.fromkeys(found, (403, 1))


def test_a_token_is_needed(client, db):
    found = {path: client.get(f"/api/v1/audit/{path}").status_code for path in ("records", "chain", "export")}
    assert found == dict.fromkeys(found, 401)
