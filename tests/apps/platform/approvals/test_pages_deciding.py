"""What the page of an approval says beside the decision: what is new, what was asked, what cannot come to an end."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.platform.accounts.models import Membership
from apps.platform.approvals import services
from apps.platform.approvals.models import Approval, Remark
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.test_pages_approvals import at, text, vote


def test_what_changed_since_the_last_look_stays_until_it_is_seen(two_needed, second, ask, decide, approver, browser):
    approval, client = ask(), browser(second)
    assert "Changed since you looked" not in text(client.get(at(approval)))
    decide(approver, approval)
    for _again in range(2):
        page = text(client.get(at(approval)))
        assert "Changed since you looked" in page
        assert "approver has approved." in page
    assert client.post(at(approval, "/seen")).status_code == 302
    assert "Changed since you looked" not in text(client.get(at(approval)))


def test_a_wrong_password_does_not_hide_what_changed(two_needed, second, ask, decide, approver, browser, password):
    approval, client = ask(), browser(second)
    client.get(at(approval))
    decide(approver, approval)
    answer = vote(client, approval, "wrong")
    assert (answer.status_code, "Changed since you looked" in text(answer)) == (422, True)


def test_the_third_button_asks_without_a_password(ask, approver, engineer, browser):
    approval, client = ask(), browser(approver)
    form = {"facts_digest": approval.facts_digest, "reason": "Which <wards>?", "decision": "ask"}
    assert client.post(at(approval, "/decide"), form).status_code == 302
    page = text(client.get(at(approval)))
    assert "Changed since you looked" not in page
    assert client.get(at(approval)).context["awaits_answer"]
    assert "Waiting for an answer" in page.split("</h1>")[1][:400]
    assert "Which &lt;wards&gt;?" in page
    assert 'value="approve"' in page
    mine = text(browser(engineer).get(at(approval)))
    assert "Waiting for an answer" in mine
    assert "Answer the approvers" in mine


def test_a_question_without_words_is_none(ask, approver, browser):
    approval = ask()
    form = {"facts_digest": approval.facts_digest, "reason": "", "decision": "ask"}
    answer = browser(approver).post(at(approval, "/decide"), form)
    assert (answer.status_code, Remark.objects.count()) == (422, 0)


def test_the_answer_by_form(ask, engineer, browser):
    approval, client = ask(), browser(engineer)
    assert client.post(at(approval, "/answer"), {"text": ""}).status_code == 422
    assert client.post(at(approval, "/answer"), {"text": "These two."}).status_code == 302
    assert "These two." in text(client.get(at(approval)))


def test_too_few_who_can_still_vote_is_said(two_needed, second, ask, approver, browser):
    approval = ask()
    Membership.objects.filter(user=second).delete()
    page = text(browser(approver).get(at(approval)))
    assert "1 person can still approve." in page


def test_enough_again_offers_to_carry_it_out(two_needed, second, ask, decide, approver, browser, password):
    approval, held = ask(), Membership.objects.filter(user=approver)
    decide(approver, approval)
    held.update(role="viewer")
    decide(second, approval)
    held.update(role="approver")
    client = browser(approver)
    page = text(client.get(at(approval)))
    assert "Carry it out: enough votes count again" in page
    assert 'value="reject"' not in page
    assert vote(client, approval, password).status_code == 302
    assert Approval.objects.get().state == "approved"


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_who_ended_it_and_why_stands_in_the_answer(decision, ask, decide, approver, viewer, browser):
    approval = decide(approver, ask(), decision, reason="Looked at <all>.")
    assert "approver: “Looked at &lt;all&gt;.”" in text(browser(viewer).get(at(approval)))


def test_the_time_that_is_left_is_told(ask, viewer, browser):
    approval = ask()
    Approval.objects.update(deadline_at=timezone.now() + timedelta(hours=5, minutes=30))
    assert "in 5 h" in text(browser(viewer).get(at(approval)))
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert "Deadline passed" in text(browser(viewer).get(at(approval)))


def test_a_look_is_recorded_once_with_what_was_shown(ask, approver, browser):
    approval, client = ask(), browser(approver)
    for _again in range(3):
        client.get(at(approval))
    row = AuditRecord.objects.get(action="approval.look")
    assert (row.actor, approval.facts_digest in row.body) == ("approver", True)


def test_home_tells_who_requested_that_an_answer_is_waited_for(ask, approver, engineer, browser, actor_for):
    approval, client = ask(title="Move it"), browser(engineer)
    assert "asks for more about your request" not in text(client.get("/"))
    digest = approval.facts_digest
    services.ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=digest, reason="Which?")
    page = text(client.get("/"))
    assert "asks for more about your request" in page
    assert at(approval) in page
