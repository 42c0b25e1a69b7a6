import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.approvals import services
from apps.platform.approvals.models import Remark
from apps.platform.approvals.queries import query_unanswered
from apps.platform.audit.models import AuditRecord


def test_who_requested_answers_and_it_is_recorded(ask, engineer, actor_for):
    approval = ask()
    services.answer(actor=actor_for(engineer), approval=approval, text=" Two wards more. ")
    assert (Remark.objects.get().text, Remark.objects.get().asks) == ("Two wards more.", False)
    assert AuditRecord.objects.filter(action="approval.answer", object_id=str(approval.pk)).exists()


def test_nobody_else_answers(ask, engineer, approver, project, actor_for):
    approval = ask()
    other = approver
    other.memberships.create(project=project, role="engineer")
    with pytest.raises(Refused) as refused:
        services.answer(actor=actor_for(other), approval=approval, text="Two wards.")
    assert refused.value.code == "not_yours"


def test_an_empty_answer_is_none(ask, engineer, actor_for):
    with pytest.raises(Invalid):
        services.answer(actor=actor_for(engineer), approval=ask(), text="")


def test_not_once_it_has_ended(ask, decide, approver, engineer, actor_for):
    approval = decide(approver, ask())
    with pytest.raises(Conflict):
        services.answer(actor=actor_for(engineer), approval=approval, text="Too late.")


def test_a_question_waits_for_who_requested_until_it_is_answered(ask, approver, engineer, actor_for):
    approval, by = ask(), actor_for(engineer)
    assert list(query_unanswered(by)) == []
    digest = approval.facts_digest
    services.ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=digest, reason="Which?")
    assert list(query_unanswered(by)) == [approval]
    assert list(query_unanswered(actor_for(approver))) == []
    services.answer(actor=by, approval=approval, text="These.")
    assert list(query_unanswered(by)) == []
