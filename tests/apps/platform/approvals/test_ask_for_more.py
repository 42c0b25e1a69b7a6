from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.approvals import services
from apps.platform.approvals.models import Approval, Remark, Vote
from apps.platform.approvals.validation import MAX_REMARKS
from apps.platform.audit.models import AuditRecord


@pytest.fixture
def ask_back(actor_for):
    """ask_back(user, approval, **changes) -> the question."""

    def asked(user, approval, **changes):
        about = {"facts_digest": approval.facts_digest, "reason": "Which wards?"}
        return services.ask_for_more(actor=actor_for(user), approval=approval, **about | changes)

    return asked


def test_a_question_decides_nothing_and_is_recorded(ask, ask_back, approver):
    approval = ask()
    ask_back(approver, approval)
    assert (Approval.objects.get().state, Vote.objects.count()) == ("pending", 0)
    assert (Remark.objects.get().label, Remark.objects.get().asks) == ("approver", True)
    row = AuditRecord.objects.get(action="approval.ask")
    assert "Which wards?" in row.body
    assert approval.facts_digest in row.body


def test_who_asked_back_may_still_vote(ask, ask_back, decide, approver):
    approval = ask()
    ask_back(approver, approval)
    assert decide(approver, approval).state == "approved"


def test_nobody_else_asks_back(ask, ask_back, engineer, viewer, stranger):
    approval = ask()
    for user, error in ((engineer, Refused), (viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            ask_back(user, approval)


def test_not_about_ones_own(ask, ask_back, second, actor_for, engineer, project):
    engineer.memberships.create(project=project, role="approver")
    approval = ask()
    with pytest.raises(Refused) as refused:
        ask_back(engineer, approval)
    assert refused.value.code == "own_request"


@pytest.mark.parametrize(("change", "error"), [({"reason": " "}, Invalid), ({"facts_digest": "0" * 64}, Conflict)])
def test_a_bad_question_is_none(ask, ask_back, approver, change, error):
    with pytest.raises(error):
        ask_back(approver, ask(), **change)
    assert not Remark.objects.exists()


def test_not_once_it_has_ended(ask, ask_back, decide, second, approver):
    approval = ask()
    decide(approver, approval)
    with pytest.raises(Conflict) as refused:
        ask_back(second, approval)
    assert refused.value.code == "already_decided"


def test_not_past_the_deadline(ask, ask_back, approver):
    approval = ask()
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Conflict):
        ask_back(approver, approval)


def test_there_is_a_limit(ask, ask_back, approver):
    approval = ask()
    Remark.objects.bulk_create(Remark(approval=approval, label="x", asks=True, text="?") for _ in range(MAX_REMARKS))
    with pytest.raises(Conflict) as refused:
        ask_back(approver, approval)
    assert refused.value.code == "too_many_remarks"
