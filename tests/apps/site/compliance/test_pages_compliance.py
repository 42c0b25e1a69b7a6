"""The officer's pages and REST: what is met and what is not, gaps, documents, downloads; and who may do what."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from apps.platform.audit.models import AuditRecord
from apps.platform.calendars.targets import SCHEDULE_TARGETS
from apps.site.compliance.evidence import run_queued
from apps.site.compliance.models import Attachment, EvidenceRun, Gap
from tests.apps.site.compliance.conftest import OPERATOR

pytestmark = pytest.mark.django_db
PAGE, API = "/compliance", "/api/v1/compliance"
DOCUMENT_CLAUSE = "8.1.4.9.b"


@pytest.fixture
def run(home, quick_probes, web, auditor) -> EvidenceRun:
    """A run that the auditor started: TLS lacks."""
    quick_probes("transport")
    web(auditor).post(f"{PAGE}/runs/new")
    run_queued(OPERATOR)
    return EvidenceRun.objects.get()


def build_document(**changes):
    today = timezone.localdate()
    values = {"title": "Plan", "owner": "ann", "dated_on": str(today), "expires_on": str(today + timedelta(days=90))}
    return values | changes


def test_empty_page_says_what_to_do(web, auditor):
    text = web(auditor).get(PAGE).content.decode()
    assert "No evidence yet" in text
    assert "plane evidence --out" in text


def test_a_queued_first_run_asks_for_no_other(web, auditor):
    client = web(auditor)
    client.post(f"{PAGE}/runs/new")
    text = client.get(PAGE).content.decode()
    assert "Queued" in text
    assert "plane evidence --out" not in text


def test_overview_shows_verdicts_and_gaps(web, auditor, run):
    client = web(auditor)
    text = client.get(PAGE).content.decode()
    assert 'data-clause="8.1.4.1.c" data-verdict="not met"' in text
    assert "No owner" in text
    assert 'data-verdict="not met"' not in client.get(f"{PAGE}?verdict=met").content.decode()
    assert client.get(f"{PAGE}/runs").status_code == 200
    assert client.get(f"{PAGE}/runs/{run.pk}").status_code == 200
    assert client.get(f"{PAGE}/runs/999").status_code == 404
    answer = client.get(f"{PAGE}/runs/{run.pk}/folder")
    assert b"".join(answer.streaming_content).startswith(b"PK")
    assert AuditRecord.objects.filter(action="compliance.export").count() == 1


def test_gap_gets_an_owner_and_a_day(web, auditor, run):
    client, url = web(auditor), f"{PAGE}/clauses/8.1.4.1.c"
    today = timezone.localdate()
    assert client.post(f"{url}/gap", {"owner": "", "due_on": str(today)}).status_code == 422
    assert client.post(f"{url}/gap", {"owner": "ann", "due_on": "tomorrow"}).status_code == 422
    assert client.post(f"{url}/gap", {"owner": "ann", "due_on": str(today), "note": "TLS"}).status_code == 302
    assert Gap.objects.get().owner == "ann"
    assert "ann" in client.get(PAGE).content.decode()
    Gap.objects.update(due_on=today - timedelta(days=1))
    assert "Overdue" in client.get(PAGE).content.decode()


def test_document_answers_its_clause_until_it_ends(web, auditor, run):
    client, url = web(auditor), f"{PAGE}/clauses/{DOCUMENT_CLAUSE}"
    file = SimpleUploadedFile("plan.pdf", b"%PDF-1.4 plan")
    wrong = client.post(f"{url}/documents", build_document(expires_on="2020-01-01"))
    assert (wrong.status_code, Attachment.objects.count()) == (422, 0)
    assert client.post(f"{url}/documents", build_document() | {"file": file}).status_code == 302
    row = Attachment.objects.get()
    assert b"".join(client.get(f"{PAGE}/documents/{row.pk}/file").streaming_content) == b"%PDF-1.4 plan"
    verdicts = []
    for change in ({}, {"expires_on": timezone.localdate() - timedelta(days=1), "dated_on": "2020-01-01"}):
        Attachment.objects.update(**change) if change else None
        client.post(f"{PAGE}/runs/new")
        run_queued(OPERATOR)
        newest = EvidenceRun.objects.order_by("-id").first()
        verdicts.append(newest.results.get(clause=DOCUMENT_CLAUSE).verdict)
    assert verdicts == ["met", "not met"]
    assert client.post(f"{PAGE}/documents/{row.pk}/withdraw", {"reason": "wrong"}).status_code == 302
    assert Attachment.objects.get().withdrawn_by == "auditor"


def test_malware_in_a_document_is_recorded_with_the_person(web, auditor, run, settings):
    settings.ENV = settings.ENV.model_copy(update={"upload_scan_command": "/bin/false"})
    body = build_document() | {"file": SimpleUploadedFile("plan.pdf", b"x")}
    answer = web(auditor).post(f"{PAGE}/clauses/{DOCUMENT_CLAUSE}/documents", body)
    assert (answer.status_code, Attachment.objects.count()) == (422, 0)
    assert AuditRecord.objects.get(action="artifact.malware_found").actor == "auditor"


def test_a_probe_is_not_overruled_by_a_document(web, auditor, run):
    body = build_document() | {"file": SimpleUploadedFile("a.pdf", b"x")}
    answer = web(auditor).post(f"{PAGE}/clauses/8.1.4.1.c/documents", body)
    assert (answer.status_code, Attachment.objects.count()) == (422, 0)


def test_who_may_do_what(web, engineer, sysadmin, secadmin, run):
    url = f"{PAGE}/clauses/{DOCUMENT_CLAUSE}"
    found = {
        (person.username, method, path): getattr(web(person), method)(path).status_code
        for person in (engineer, sysadmin, secadmin)
        for method, path in (
            ("get", PAGE),
            ("post", f"{PAGE}/runs/new"),
            ("post", f"{url}/documents"),
            ("post", f"{url}/gap"),
            ("get", f"{PAGE}/runs/{run.pk}/folder"),
        )
    }
    expected = {"engineer": [403] * 5, "sysadmin": [200, 302, 403, 403, 403], "secadmin": [200, 403, 403, 422, 403]}
    assert found == dict(zip(found, [status for row in expected.values() for status in row], strict=True))


def test_rest_reads_with_a_token_and_writes_in_a_session(api, make_token, web, auditor, project, run):
    client = api(make_token(auditor, project, ["audit:read"])[0])
    answer = client.get(API).json()
    assert len(answer["clauses"]) == 46
    assert next(row for row in answer["clauses"] if row["id"] == "8.1.4.1.c")["failing"]
    assert client.get(f"{API}/runs").json()["items"][0]["id"] == run.pk
    assert client.get(f"{API}/runs/{run.pk}").status_code == 200
    assert client.post(f"{API}/runs").status_code == 403
    session, kind = web(auditor), {"content_type": "application/json"}
    content = base64.b64encode(b"plan").decode()
    body = build_document(clause=DOCUMENT_CLAUSE, file_name="p.pdf", content=content)
    assert session.post(f"{API}/documents", body | {"content": "?"}, **kind).status_code == 422
    row = session.post(f"{API}/documents", body, **kind)
    assert row.status_code == 201, row.content
    pk = row.json()["id"]
    assert session.post(f"{API}/documents/{pk}/withdraw", {"reason": "x"}, **kind).status_code == 200
    assert session.post(f"{API}/documents/{pk}/withdraw", {"reason": "x"}, **kind).status_code == 409
    gap = {"owner": "ann", "due_on": str(timezone.localdate())}
    assert session.put(f"{API}/clauses/8.1.4.1.c/gap", gap, **kind).status_code == 200
    assert (
        session.put(f"{API}/clauses/8.1.4.1.c/gap", {"owner": "ann", "due_on": "2020-01-01"}, **kind).status_code == 422
    )
    assert session.put(f"{API}/clauses/9.9/gap", gap, **kind).status_code == 404
    assert session.post(f"{API}/runs", **kind).status_code == 202


def test_a_schedule_of_the_plane_submits_runs(actor_for, sysadmin):
    target = SCHEDULE_TARGETS["evidence"]
    actor = actor_for(sysadmin)
    pk = target.submit(actor, None, {}, "key")
    assert target.is_active(pk)
    assert target.copy_request(actor, None, pk) == {}
