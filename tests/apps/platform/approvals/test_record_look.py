import pytest

from apps.platform.approvals import queries, services
from apps.platform.approvals.models import Approval, Look
from apps.platform.approvals.seen_state import build_seen_state, format_pointer
from apps.platform.audit.models import AuditRecord


@pytest.fixture
def look(actor_for):
    """look(user, approval) -> what this person is told to have changed since they looked, as texts."""

    def looked(user, approval):
        row = Approval.objects.with_given().with_due().get(pk=approval.pk)
        standing, remarks = queries.get_standing(row), queries.list_remarks(row)
        shown = build_seen_state(row, queries.list_votes(row), remarks, standing.changes)
        found = queries.get_news(services.record_look(actor=actor_for(user), approval=row, seen_state=shown), row)
        return [one.text for one in found.news] if found else []

    return looked


def test_the_first_look_and_the_same_again_tell_nothing(ask, look, approver):
    approval = ask()
    assert (look(approver, approval), look(approver, approval)) == ([], [])
    assert AuditRecord.objects.filter(action="approval.look").count() == 1


def test_each_is_told_of_what_came_after_their_own_look(two_needed, second, ask, decide, look, approver, viewer):
    approval = ask()
    look(second, approval)
    decide(approver, approval)
    assert look(second, approval) == ["approver has approved."]
    assert look(viewer, approval) == []


def test_it_is_told_until_it_is_let_go(two_needed, second, ask, decide, look, approver, actor_for):
    approval = ask()
    look(second, approval)
    decide(approver, approval)
    assert look(second, approval) == look(second, approval) != []
    services.dismiss_changes(actor=actor_for(second), approval=approval)
    assert look(second, approval) == []
    assert AuditRecord.objects.filter(action="approval.seen").count() == 1


def test_a_fact_that_no_longer_holds_is_told(ask, look, approver, subject):
    approval = ask()
    look(approver, approval)
    subject.facts["figures"]["mae"] = 2.5
    assert look(approver, approval) == ["A fact no longer holds: figures › mae."]
    subject.facts["figures"]["mae"] = 1.25
    assert look(approver, approval) == []


def test_questions_answers_and_the_end_are_told(ask, decide, look, second, approver, engineer, actor_for):
    approval = ask()
    look(second, approval)
    digest = approval.facts_digest
    services.ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=digest, reason="Why?")
    services.answer(actor=actor_for(engineer), approval=approval, text="So.")
    decide(approver, approval, "reject")
    told = ["approver has rejected it.", "approver asks for more.", "engineer has answered.", "It is now: Rejected."]
    assert look(second, approval) == told


def test_who_ended_it_is_told_nothing_more(ask, decide, look, approver, engineer, actor_for):
    approval = ask()
    look(approver, approval)
    digest = approval.facts_digest
    services.ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=digest, reason="Why?")
    services.answer(actor=actor_for(engineer), approval=approval, text="So.")
    assert look(approver, approval) == ["engineer has answered."]
    decide(approver, approval)
    assert look(approver, approval) == []


def test_a_request_asked_anew_is_compared_with_the_one_they_saw(ask, decide, look, approver, subject):
    first = ask()
    look(approver, first)
    decide(approver, first, "reject")
    subject.facts["version"] = 4
    anew = ask()
    assert look(approver, anew) == [f"It was asked for anew: 1 fact is not as in request #{first.pk}."]
    row = Approval.objects.get(pk=anew.pk)
    (change,) = queries.get_news(Look.objects.get(approval=anew), row).facts
    assert (change["path"], change["was"], change["is"]) == ("/version", 3, 4)


def test_what_one_does_oneself_is_no_news(two_needed, second, ask, decide, look, approver, engineer, actor_for):
    approval = ask()
    for person in (approver, engineer):
        look(person, approval)
    digest = approval.facts_digest
    services.ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=digest, reason="Why?")
    assert (look(approver, approval), look(engineer, approval)) == ([], ["approver asks for more."])
    services.answer(actor=actor_for(engineer), approval=approval, text="So.")
    assert look(approver, approval) == ["engineer has answered."]
    decide(approver, approval)
    assert look(approver, approval) == ["engineer has answered."]
    decide(second, approval)
    assert look(approver, approval) == ["second has approved.", "engineer has answered.", "It is now: Approved."]


def test_the_vote_that_decides_tells_its_voter_nothing(ask, decide, look, approver, second):
    approval = ask()
    for person in (approver, second):
        look(person, approval)
    decide(approver, approval, "reject")
    assert (look(approver, approval), look(second, approval)[-1]) == ([], "It is now: Rejected.")


def test_withdrawing_tells_the_requester_nothing(ask, look, engineer, actor_for):
    approval = ask()
    look(engineer, approval)
    services.withdraw(actor=actor_for(engineer), approval=approval, reason="A typo.")
    assert look(engineer, approval) == []


def test_a_program_does_not_look(ask, actor_for, approver, make_token):
    from apps.platform.accounts.actors import build_actor_for_token

    approval = ask()
    _secret, token = make_token(approver)
    assert services.record_look(actor=build_actor_for_token(token), approval=approval, seen_state={}) is None
    assert not Look.objects.exists()


def test_a_pointer_is_spoken():
    assert format_pointer("/candidate/variants/int8/max_abs_error") == "candidate › variants › int8 › max_abs_error"
    assert format_pointer("/a~1b") == "a/b"
    assert format_pointer("") == "the whole"
