from datetime import timedelta

from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.platform.approvals.models import Approval
from apps.platform.approvals.queries import query_waiting_for
from apps.platform.approvals.services import answer, ask_for_more
from tests.conftest import member


def test_what_is_pending_waits_for_every_approver_of_the_project(
    ask, approver, second, viewer, engineer, stranger, auditor, actor_for
):
    approval = ask()
    for user in (approver, second):
        assert list(query_waiting_for(actor_for(user))) == [approval]
    for user in (viewer, engineer, stranger, auditor):
        assert list(query_waiting_for(actor_for(user))) == []


def test_not_for_who_has_voted(two_needed, second, ask, decide, approver, actor_for):
    approval = ask()
    decide(approver, approval)
    assert not query_waiting_for(actor_for(approver)).exists()
    assert query_waiting_for(actor_for(second)).exists()


def test_not_for_who_asked(ask, project, approver, actor_for):
    both = member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)
    ask(by=actor_for(both))
    assert not query_waiting_for(actor_for(both)).exists()
    assert query_waiting_for(actor_for(approver)).exists()


def test_not_while_the_requester_owes_an_answer(ask, approver, second, engineer, actor_for):
    approval = ask()
    digest = approval.facts_digest
    ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=digest, reason="Why?")
    assert not query_waiting_for(actor_for(approver)).exists()
    assert query_waiting_for(actor_for(second)).exists()
    answer(actor=actor_for(engineer), approval=approval, text="So.")
    assert query_waiting_for(actor_for(approver)).exists()


def test_not_past_the_deadline(ask, approver, actor_for):
    ask()
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert not query_waiting_for(actor_for(approver)).exists()
