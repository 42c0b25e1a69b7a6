"""The pages: the answer first, server-side filters and pages, actions for those who have them."""

from __future__ import annotations

import re

import pytest

from apps.platform.audit.models import AuditRecord
from apps.platform.audit.naming.sentences import render_object, render_sentence
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


def test_the_table_is_a_mode_of_the_address_which_filters_and_pages_keep(browser, auditor, write):
    write(60)
    client = browser(auditor)
    text = page(client, "/audit?actor=somebody&mode=table")
    assert (text.count("<code>thing.change</code>"), '<ol class="tline' in text) == (50, False)
    assert '<input type="hidden" name="mode" value="table">' in text
    assert re.search(r'href="\?[^"]*mode=table[^"]*cursor=', text)
    assert '<ol class="tline' in page(client, "/audit?actor=somebody")
    assert "There is no mode &#x27;cells&#x27;." in page(client, "/audit?mode=cells", status=422)


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


TAMPERED = (
    '{"after":["x"]}',
    '{"before":["x"],"after":{"state":["x"]}}',
    '{"after":"x"}',
    '{"after":7}',
    "[]",
    '{"after":{"sealed":["x"],"seconds":"x"}}',
    '{"after":{"sealed":NaN,"seconds":1e999}}',
    '{"after":{"sealed":N,"seconds":-N}}'.replace("N", str(10**400)),
    '{"reason":"record N: half a pair \\ud800"}'.replace("N", "1" * 5000),
    "[" * 20_000,
)


def test_a_tampered_body_of_another_shape_still_shows(browser, auditor, chain, owner, dispatcher):
    client = browser(auditor)
    client.post("/audit/verify")
    run_queued_verification(dispatcher)
    addresses = ("/audit", "/audit?mode=table", "/audit/object/thing/3", "/audit/chain", "/api/v1/audit/chain")
    for body in TAMPERED:
        owner(f"UPDATE audit_auditrecord SET body = '{body}' WHERE seq = 4 OR action LIKE 'audit.verify%'")
        answers = {address: client.get(address).status_code for address in (*addresses, "/api/v1/audit/records")}
        assert set(answers.values()) == {200}, (body[:80], answers)


def test_the_export_takes_the_filters_of_the_page(browser, auditor, project, chain):
    client = browser(auditor)
    text = " ".join(page(client, "/audit?action=thing.change&project=demo").split())
    dialog = text.partition('id="export"')[2]
    assert "Empty: the last that matches the filters." in dialog
    assert '<input type="checkbox" name="action" value="thing.change" checked>' in dialog
    assert "<option selected>demo</option>" in dialog
    assert 'type="checkbox"' not in page(client).partition('id="export"')[2]


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
    link = f'<a href="/audit/object/project/{project.pk}">{project.slug}</a>'
    assert f"<b>{somebody.label} created project {link}</b>" in " ".join(text.split())
    assert f"<code>project.create project {project.pk}</code>" in text
    assert f"thing.change project {project.pk}" in text
    assert '<option value="project.create">' in text
    assert f"创建了项目 {link}" in client.get("/audit", headers={"Accept-Language": "zh-hans"}).content.decode()


def test_names_in_sentences_are_escaped(somebody):
    assert render_sentence("job.submit", "<i>", "<b>") == "&lt;i&gt; submitted &lt;b&gt;"
    assert render_object("job", "7", "<b>", "") == "job &lt;b&gt;"


@pytest.mark.parametrize(
    ("action", "state", "sentence"),
    [
        ("evaluation_set.create", "", "anna created evaluation set #3"),
        ("approval.approve", "", "anna voted to approve evaluation set #3"),
        ("thing.awaiting_approval", "Awaiting approval", "anna: evaluation set #3 is now “Awaiting approval”"),
        ("sweep.plan_trials", "", "anna: plan trials, evaluation set #3"),
    ],
)
def test_every_action_is_a_sentence(action, state, sentence):
    assert render_sentence(action, "anna", render_object("evaluationset", "3", "", ""), state=state) == sentence


@pytest.mark.parametrize(
    ("action", "end"),
    [
        ("audit.restore_triggers", ": restore triggers"),
        ("approval.view", ": view"),
        ("audit.verify", " verified the whole audit trail"),
    ],
)
def test_an_action_without_an_object_ends_with_its_verb(action, end):
    assert render_sentence(action, "anna", render_object("", "", "", "")) == f"anna{end}"


def test_links_lead_only_where_the_reader_may_go(browser, auditor, engineer, project, somebody):
    """A page that the auditor may not open would refuse, and record that as an attempt of the auditor."""
    record(actor=somebody, action="job.cancel", object_type="job", object_id="7", project_id=project.pk)
    address, history = f"/p/{project.slug}/jobs/7", "/audit/object/job/7"
    seen = page(browser(auditor))
    assert f'href="{address}"' not in seen
    assert f'job <a href="{history}">#7</a>' in seen
    assert f'job <a href="{address}">#7</a>' in page(browser(engineer))
    assert f'href="{address}"' not in browser(auditor).get(history).content.decode()


def test_a_word_finds_the_actions_that_hold_it(browser, auditor, project, somebody):
    record(actor=somebody, action="approval.approve", obj=project)
    record(actor=somebody, action="job.cancel", obj=project)
    text = browser(auditor).get("/audit?action=approve").content.decode()
    assert "<code>approval.approve " in text
    assert "<code>job.cancel " not in text


def test_a_refusal_is_told_in_the_language_of_the_page(browser, auditor, project, somebody):
    record(actor=somebody, action="job.submit", obj=project, result="refused")
    page = browser(auditor).get("/audit", headers={"Accept-Language": "zh-hans"}).content.decode()
    assert f"<b>已拒绝：{somebody.label} 试图对项目" in page


def test_the_strangers_are_led_to_the_login(client, db):
    assert client.get("/audit").headers["Location"].startswith("/accounts/login/")


def test_a_typed_reason_is_not_translated(browser, auditor, somebody):
    record(action="thing.change", actor=somebody, object_type="thing", object_id="9", reason="Choose another.")
    client = browser(auditor)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-hans"
    assert "<p>Choose another.</p>" in page(client)
