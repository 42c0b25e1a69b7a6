import time
from datetime import timedelta

from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.errors import Conflict
from apps.platform.approvals.models import Approval, ApprovalPolicy, Vote
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import carried_out

LIST = "/p/demo/approvals"


def at(approval, act=""):
    return f"{LIST}/{approval.pk}{act}"


def text(answer) -> str:
    return answer.content.decode()


def vote(client, approval, password, decision="approve", **more):
    form = {"facts_digest": approval.facts_digest, "reason": "Looked at it.", "password": password}
    return client.post(at(approval, "/decide"), {**form, "decision": decision, **more})


# -- the list -------------------------------------------------------------------------------------------------------
def test_an_approver_opens_on_what_waits_for_them(ask, decide, approver, browser):
    first, second = ask(subject_id=1, title="The first"), ask(subject_id=2, title="The second")
    decide(approver, first)
    client = browser(approver)
    assert "The second" in text(client.get(LIST))
    assert "The first" not in text(client.get(LIST))
    assert "The first" in text(client.get(f"{LIST}?show=decided"))
    decide(approver, second)
    assert "Nothing waits for your vote" in text(client.get(LIST))


def test_others_open_on_what_is_pending(ask, viewer, engineer, browser):
    assert "Nothing is pending" in text(browser(engineer).get(LIST))
    ask(title="Move it")
    assert "Move it" in text(browser(viewer).get(LIST))


def test_strangers_find_no_page(ask, stranger, browser):
    approval = ask()
    assert browser(stranger).get(LIST).status_code == 404
    assert browser(stranger).get(at(approval)).status_code == 404


# -- one approval ---------------------------------------------------------------------------------------------------
def test_the_page_shows_the_subjects_part_and_asks_for_a_reason_and_the_password(ask, approver, browser):
    approval = ask(comment="Better on every day.")
    page = text(browser(approver).get(at(approval)))
    for words in (
        "Waits for you",
        "It moves from 2 to 3.",
        "Approve, move to 3",
        "Better on every day.",
        "/figures/<wbr>mae",
    ):
        assert words in page
    assert 'name="reason"' in page
    assert 'type="password"' in page
    assert "authenticator app" not in page


def test_every_tab_opens(ask, decide, approver, viewer, browser):
    approval = ask()
    decide(approver, approval)
    for tab in ("", "/facts", "/audit"):
        assert browser(viewer).get(at(approval, tab)).status_code == 200
    assert "approval.approved" in text(browser(viewer).get(at(approval, "/audit")))


def test_the_facts_stand_in_groups_with_their_number(ask, viewer, browser, monkeypatch):
    approval = ask()
    page = text(browser(viewer).get(at(approval, "/facts")))
    assert "5 facts as requested" in page
    assert "<details open><summary><code>/figures</code> 1 fact</summary>" in page
    assert "<code>mae</code>" in page
    assert "the text below holds all" not in page
    monkeypatch.setattr("apps.platform.approvals.views.MAX_LISTED_FACTS", 2)
    assert "The first 2 of 5 facts; the text below holds all." in text(browser(viewer).get(at(approval, "/facts")))


def test_who_may_not_vote_has_nothing_to_press(ask, viewer, engineer, browser):
    approval = ask()
    assert 'value="approve"' not in text(browser(viewer).get(at(approval)))
    own = text(browser(engineer).get(at(approval)))
    assert 'value="approve"' not in own
    assert "Withdraw the request" in own


def test_it_says_what_has_changed_since_it_was_asked_for(ask, approver, browser, subject):
    approval = ask()
    assert "Changed since the request" not in text(browser(approver).get(at(approval)))
    subject.facts["version"] = 4
    page = text(browser(approver).get(at(approval)))
    assert "Changed since the request" in page
    assert "/version" in page


def test_a_subject_that_is_gone_still_has_a_page(ask, approver, browser, subject):
    approval = ask()
    subject.gone = True
    assert browser(approver).get(at(approval)).status_code == 200
    with APPROVAL_SUBJECTS.override({}):
        assert browser(approver).get(at(approval)).status_code == 200


# -- deciding -------------------------------------------------------------------------------------------------------
def test_what_only_begins_later_is_not_said_to_be_carried_out(ask, approver, browser, password, subject, monkeypatch):
    approval = ask()
    client = browser(approver)
    assert "is then carried out at once" in text(client.get(at(approval)))
    monkeypatch.setattr(subject, "acts_at_once", False)
    assert "carried out" not in text(client.get(at(approval)))
    vote(client, approval, password)
    assert "carried out" not in text(client.get(at(approval)))


def test_approving_carries_out(ask, approver, browser, password):
    approval = ask()
    client = browser(approver)
    answer = vote(client, approval, password)
    assert (answer.status_code, answer.headers["Location"]) == (302, at(approval))
    assert (Approval.objects.get().state, carried_out()) == ("approved", 1)
    page = text(client.get(at(approval)))
    assert "Approved, and carried out." in page
    assert "Looked at it." in page


def test_rejecting_ends_it(ask, approver, browser, password):
    approval = ask()
    vote(browser(approver), approval, password, "reject")
    assert (Approval.objects.get().state, carried_out()) == ("rejected", 0)


def test_a_wrong_password_is_said_beside_its_field_and_the_reason_is_kept(ask, approver, browser):
    approval = ask()
    answer = vote(browser(approver), approval, "wrong", reason="Eighteen clean days.")
    assert answer.status_code == 422
    page = text(answer)
    assert "This is not your password." in page.partition('id="id_password"')[2]
    assert "Eighteen clean days." in page
    assert 'value="wrong"' not in page
    assert not Vote.objects.exists()


def test_guessing_locks_and_says_so_on_this_page(ask, approver, browser, settings, password):
    approval = ask()
    client = browser(approver)
    answers = [vote(client, approval, "wrong").status_code for _ in range(settings.AXES_FAILURE_LIMIT)]
    assert answers[-1] == 429
    answer = vote(client, approval, password)
    assert (answer.status_code, "your account is locked" in text(answer)) == (429, True)
    assert not Vote.objects.exists()


def test_a_second_factor_is_part_of_the_form(ask, approver, browser, password):
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(approver, secret)
    approval = ask()
    client = browser(approver)
    assert "authenticator app" in text(client.get(at(approval)))
    assert vote(client, approval, password).status_code == 422
    assert "This code is wrong" in text(vote(client, approval, password, code="000000"))
    code = format_hotp_value(hotp_value(secret, int(time.time()) // 30))
    assert vote(client, approval, password, code=code).status_code == 302
    assert Vote.objects.get().method == "password+code"


def test_what_is_missing_decides_nothing(ask, approver, browser, password):
    approval, client = ask(), browser(approver)
    for more in ({"reason": ""}, {"password": ""}, {"decision": ""}, {"decision": "later"}):
        assert vote(client, approval, **{"password": password, **more}).status_code == 422, more
    assert not Vote.objects.exists()


def test_facts_that_were_not_those_seen(ask, approver, browser, password):
    approval = ask()
    answer = vote(browser(approver), approval, password, facts_digest="0" * 64)
    assert answer.status_code == 409
    assert "not those of this approval" in text(answer)
    assert f'name="facts_digest" value="{approval.facts_digest}"' in text(answer)


def test_a_void_is_shown_with_what_had_changed(ask, approver, browser, password, subject):
    approval = ask()
    subject.facts["version"] = 4
    answer = vote(browser(approver), approval, password)
    assert answer.status_code == 409
    page = text(answer)
    assert "What had changed" in page
    assert "/version was 3, is 4" in page
    assert 'value="approve"' not in page
    assert Approval.objects.get().state == "void"


def test_a_deadline_that_passed_meanwhile_is_said(ask, approver, browser, password):
    approval = ask()
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    answer = vote(browser(approver), approval, password)
    assert (answer.status_code, "The deadline has passed" in text(answer)) == (409, True)


def test_what_cannot_be_carried_out_is_said_and_may_be_tried_again(ask, approver, browser, password, subject):
    approval = ask()
    subject.fails = Conflict("The thing is held.")
    answer = vote(browser(approver), approval, password)
    assert "The thing is held." in text(answer)
    subject.fails = None
    assert vote(browser(approver), approval, password).status_code == 302


def test_nobody_else_decides_by_form(ask, viewer, engineer, browser, password):
    approval = ask()
    for user in (viewer, engineer):
        assert vote(browser(user), approval, password).status_code == 403
    assert not Vote.objects.exists()


def test_a_form_without_its_csrf_token_decides_nothing(ask, approver, browser, password):
    approval = ask()
    assert vote(browser(approver, csrf=True), approval, password).status_code == 403
    assert not Vote.objects.exists()


def test_a_session_that_ended_takes_the_vote_to_the_log_in_and_drops_it(ask, approver, browser, password):
    """allauth would send a stashed POST after the log-in; ours goes back to a page that asks anew."""
    approval = ask()
    client = browser(approver)
    client.logout()
    assert vote(client, approval, password).status_code == 302
    client.post("/accounts/login/", {"login": "approver", "password": password, "next": at(approval, "/decide")})
    answer = client.get(at(approval, "/decide"))
    assert (answer.status_code, answer.headers["Location"]) == (302, at(approval))
    assert (Approval.objects.get().state, Vote.objects.count()) == ("pending", 0)


# -- withdrawing ----------------------------------------------------------------------------------------------------
def test_who_asked_withdraws_for_a_reason(ask, engineer, browser):
    approval = ask()
    client = browser(engineer)
    assert client.post(at(approval, "/withdraw"), {"reason": ""}).status_code == 422
    assert client.post(at(approval, "/withdraw"), {"reason": "Wrong version."}).status_code == 302
    assert Approval.objects.get().state == "withdrawn"
    assert client.post(at(approval, "/withdraw"), {"reason": "Again."}).status_code == 409


# -- the auditor, home, policies ------------------------------------------------------------------------------------
def test_the_auditor_reads_every_page_and_is_recorded(ask, auditor, browser):
    approval = ask()
    client = browser(auditor)
    for page in (LIST, at(approval), at(approval, "/facts"), at(approval, "/audit")):
        assert client.get(page).status_code == 200
    assert AuditRecord.objects.filter(action="approval.view", actor="auditor").count() == 4
    assert LIST in text(client.get("/p/demo/"))


def test_home_lists_what_waits_for_my_vote_and_the_rail_counts_it(ask, decide, approver, viewer, browser):
    approval = ask(title="Move it")
    client = browser(approver)
    assert at(approval) in text(client.get("/"))
    assert "1 waits for you" in text(client.get(LIST))
    assert "Move it" not in text(browser(viewer).get("/"))
    decide(approver, approval)
    assert "Move it" not in text(client.get("/"))


def test_many_that_wait_cost_home_no_more_queries(ask, approver, browser, django_assert_num_queries):
    client = browser(approver)
    ask(subject_id=1)
    client.get("/")
    with CaptureQueriesContext(connection) as few:
        client.get("/")
    for number in range(2, 7):
        ask(subject_id=number)
    with django_assert_num_queries(len(few)):
        client.get("/")


def test_the_security_administrator_sets_what_it_takes(project, secadmin, browser):
    client, where = browser(secadmin), f"{LIST}/policy"
    assert "Set it for new requests" in text(client.get(where))
    form = {"subject_type": "thing", "thing-needed": 2, "thing-deadline_hours": 24, "thing-reason": "Four eyes."}
    wrong = client.post(where, {**form, "thing-needed": 11})
    assert (wrong.status_code, ApprovalPolicy.objects.count()) == (422, 0)
    assert client.post(where, form).status_code == 302
    row = ApprovalPolicy.objects.get()
    assert (row.needed, row.deadline_hours) == (2, 24)
    again = client.post(where, form)
    assert (again.status_code, "This is what it takes already." in text(again)) == (422, True)


def test_others_read_what_it_takes_and_cannot_set_it(project, approver, browser):
    client, where = browser(approver), f"{LIST}/policy"
    assert "Set it for new requests" not in text(client.get(where))
    assert client.post(where, {"subject_type": "thing"}).status_code == 403
