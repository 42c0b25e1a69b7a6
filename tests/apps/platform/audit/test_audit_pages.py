"""The pages: the answer first, server-side filters and pages, actions for those who have them."""

from __future__ import annotations

import pytest

from apps.platform.audit.models import AuditRecord
from apps.platform.audit.naming.sentences import render_sentence
from apps.platform.audit.queries import get_timeline
from apps.platform.audit.services import record
from apps.platform.audit.verification_runs import run_queued_verification

pytestmark = pytest.mark.django_db


def page(client, address="/audit", status=200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return answer.content.decode()


def test_the_auditor_sees_the_chain_and_the_buttons(browser, auditor, chain):
    text = page(browser(auditor))
    assert "Not yet verified" in text
    assert "Verify now" in text
    assert "thing.change thing 9" in text
    assert AuditRecord.objects.filter(action="audit.view", actor="auditor").exists()


def test_verify_now_queues_a_walk_and_says_how_far_it_is(browser, auditor, chain, dispatcher):
    client = browser(auditor)
    assert client.post("/audit/verify").headers["Location"] == "/audit/chain"
    text = page(client, "/audit/chain")
    assert "It waits for the dispatcher." in text
    assert 'hx-get="/audit/chain/progress"' in text
    run_queued_verification(dispatcher)
    assert "Chain verified" in page(client)
    done = client.get("/audit/chain/progress")
    assert (done.headers["HX-Refresh"], "Requested by auditor" in done.content.decode()) == ("true", True)


def test_a_broken_chain_is_told(browser, auditor, chain, owner, dispatcher):
    owner("DELETE FROM audit_auditrecord WHERE seq = 4")
    client = browser(auditor)
    client.post("/audit/verify")
    run_queued_verification(dispatcher)
    text = page(client)
    assert "Chain broken" in text
    assert "record 5" in text


def test_a_member_sees_their_project_and_no_buttons(browser, engineer, project, other_project, somebody):
    record(actor=somebody, action="job.submit", obj=project)
    record(actor=somebody, action="job.submit", obj=other_project, reason="theirs")
    text = page(browser(engineer))
    assert f"job.submit project {project.pk}" in text
    assert "theirs" not in text
    assert "Verify now" not in text


@pytest.mark.parametrize("who", ["sysadmin", "secadmin"])
def test_other_administrators_are_refused(browser, request, who):
    page(browser(request.getfixturevalue(who)), status=403)


def test_filters_and_paging_live_in_the_address(browser, auditor, write):
    write(60)
    client = browser(auditor)
    text = page(client, "/audit?actor=somebody&limit=50")
    assert text.count("thing.change thing") == 50
    assert "cursor=" in text
    assert "thing.change" not in page(client, "/audit?action=job.")


def test_a_wrong_filter_is_told_on_the_page(browser, auditor, chain):
    text = page(browser(auditor), "/audit?from=yesterday", status=422)
    assert "yesterday" in text
    assert 'name="from"' in text  # the filters are still there to be corrected
    assert "thing.change" not in text


def test_one_object(browser, auditor, chain):
    text = page(browser(auditor), "/audit/object/thing/3")
    assert "thing.change thing 3" in text
    assert "thing.change thing 4" not in text


def test_what_was_written_is_escaped(browser, auditor, somebody):
    record(actor=somebody, action="thing.change", reason="<script>alert(1)</script>", after={"<b>": "<i>"})
    text = page(browser(auditor))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_tampered_body_still_shows(browser, auditor, chain, owner):
    owner("UPDATE audit_auditrecord SET body = 'no json' WHERE seq = 4")
    assert "thing.change thing 3" in page(browser(auditor))


def test_export_by_post(browser, auditor, chain):
    client = browser(auditor)
    assert client.get("/audit/export").status_code == 405
    answer = client.post("/audit/export", {"reason": "review"})  # record 11 is the log-in
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit-1-12.jsonl"'
    assert len(b"".join(answer.streaming_content).splitlines()) > 11


def test_the_verifier_to_take_away(browser, auditor, engineer):
    answer = browser(auditor).get("/audit/verify.py")
    assert b"SHA-256( hash(n-1)" in b"".join(answer.streaming_content)
    assert browser(engineer).get("/audit/verify.py").status_code == 403


def test_a_timeline_shows_what_its_reader_may_see(project, other_project, somebody, actor_for, engineer, stranger):
    record(actor=somebody, action="project.rename", obj=project, before={"name": "a"}, after={"name": "b"})
    (event,) = get_timeline(actor_for(engineer), "project", project.pk)
    assert (event.title, event.changes) == (f"project.rename project {project.pk}", [("name", "a", "b")])
    assert get_timeline(actor_for(stranger), "project", project.pk) == []


def test_what_only_the_database_knew_is_no_change(project, somebody, actor_for, engineer):
    """`queued_at` is set by the database's clock: before it was nothing, after it nobody here could say."""
    record(actor=somebody, action="project.move", obj=project, before={"state": "a", "at": None}, after={"state": "b"})
    (event,) = get_timeline(actor_for(engineer), "project", project.pk)
    assert event.changes == [("state", "a", "b")]


@pytest.mark.parametrize(
    ("action", "after", "result", "state"),
    [
        ("job.failed", {"state": "failed"}, "done", "failed"),
        ("job.submit", {"kind": "clean"}, "done", "done"),
        ("job.cancel", {"state": "cancelled"}, "refused", "refused"),
        ("job.view", None, "done", "note"),
    ],
)
def test_a_record_wears_the_state_that_its_object_came_into(
    action, after, result, state, project, somebody, actor_for, engineer
):
    record(actor=somebody, action=action, obj=project, after=after, result=result)
    (event,) = get_timeline(actor_for(engineer), "project", project.pk)
    assert event.state == state


def test_a_record_is_a_sentence_with_the_name_of_its_object(browser, auditor, project, somebody):
    record(actor=somebody, action="project.create", obj=project)
    record(actor=somebody, action="thing.change", obj=project)
    client = browser(auditor)
    text = page(client)
    assert f"<b>{somebody.label} created the project {project.slug}</b>" in " ".join(text.split())
    assert f"<code>project.create project {project.pk}</code>" in text
    assert f"thing.change project {project.pk}" in text
    assert '<option value="project.create">' in text
    assert f"创建了项目 {project.slug}" in client.get("/audit", headers={"Accept-Language": "zh-hans"}).content.decode()


def test_names_in_sentences_are_escaped(somebody):
    assert render_sentence("job.submit", "<i>", "<b>") == "&lt;i&gt; submitted &lt;b&gt;"
    assert render_sentence("no.such", "a", "b") == ""


def test_a_refusal_is_told_in_the_language_of_the_page(browser, auditor, project, somebody):
    record(actor=somebody, action="job.submit", obj=project, result="refused")
    page = browser(auditor).get("/audit", headers={"Accept-Language": "zh-hans"}).content.decode()
    assert f"<b>已拒绝：job.submit project {project.pk}</b>" in page


def test_the_strangers_are_led_to_the_login(client, db):
    assert client.get("/audit").headers["Location"].startswith("/accounts/login/")


def test_a_typed_reason_is_not_translated(browser, auditor, somebody):
    record(action="thing.change", actor=somebody, object_type="thing", object_id="9", reason="Choose another.")
    client = browser(auditor)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-hans"
    assert "<p>Choose another.</p>" in page(client)
