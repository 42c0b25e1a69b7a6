"""REST: who may read, verify and export what, and that reading leaves a record."""

from __future__ import annotations

import json

import pytest

from apps.audit.models import AuditRecord
from apps.audit.runs import run_asked
from apps.audit.services import record
from apps.audit.verifier.verify import open_export, verify_export

pytestmark = pytest.mark.django_db
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


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor=somebody", ["job.cancel", "job.submit"]),
        ("action=job.submit", ["job.submit"]),
        ("action=job.", ["job.cancel", "job.submit"]),
        ("object_type=user&object_id=3", ["user.log_in"]),
        ("project=demo", ["audit.view", "job.submit"]),
        ("result=refused", ["job.cancel"]),
        ("from=2200-01-01", []),
        ("to=2001-01-01", []),
        ("from=2001-01-01&actor=somebody&result=done", ["job.submit"]),
    ],
)
def test_filters(api, auditor, facts, query, found):
    assert actions(api(auditor).get(f"{RECORDS}?{query}")) == found


@pytest.mark.parametrize(
    ("query", "field"),
    [("result=perhaps", "result"), ("from=yesterday", "from"), ("to=2026-13-01", "to"), ("project=none", "project")],
)
def test_a_wrong_filter_is_named(api, auditor, query, field):
    answer = api(auditor).get(f"{RECORDS}?{query}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


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
    run_asked(dispatcher)
    state = client.get("/api/v1/audit/chain").json()
    assert (state["state"], state["verified_seq"], state["last_checkpoint"]["seq"]) == ("whole", 10, 10)
    assert (state["verified_by"], state["verification"]["whole"]) == ("auditor", True)


def test_a_broken_chain_says_so(api, auditor, chain, owner, dispatcher):
    owner("UPDATE audit_auditrecord SET body = '{}' WHERE seq = 4")
    client = api(auditor)
    client.post("/api/v1/audit/verify")
    run_asked(dispatcher)
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


@pytest.mark.parametrize(
    "query", ["from_seq=0", "from_seq=x", "to_seq=99999999999999999999", "from_seq=50", "project=no"]
)
def test_a_wrong_export_is_named(api, auditor, chain, query):
    answer = api(auditor).get(f"/api/v1/audit/export?{query}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, query.split("=")[0])


@pytest.mark.parametrize(("method", "path"), [("get", "chain"), ("post", "verify"), ("get", "export")])
@pytest.mark.parametrize("who", ["engineer", "viewer", "approver", "sysadmin", "secadmin"])
def test_only_the_auditor(api, request, who, method, path):
    user = request.getfixturevalue(who)
    answer = getattr(api(user), method)(f"/api/v1/audit/{path}")
    assert answer.status_code == 403
    assert AuditRecord.objects.filter(result="refused", actor=user.username).exists()


@pytest.mark.parametrize("path", ["records", "chain", "export"])
def test_a_token_is_needed(client, db, path):
    assert client.get(f"/api/v1/audit/{path}").status_code == 401
