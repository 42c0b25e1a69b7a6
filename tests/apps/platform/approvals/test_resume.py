"""A vote that did not count for a while: when enough do again, somebody who has voted carries it out."""

import pytest

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict
from apps.platform.accounts.models import Membership
from apps.platform.approvals.models import Vote
from apps.platform.approvals.queries import query_waiting_for
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import carried_out


@pytest.fixture
def enough_again(two_needed, second, ask, decide, approver):
    """Both have approved, but never both as approvers at once; nobody is left to vote."""
    approval = ask()
    decide(approver, approval)
    held = Membership.objects.filter(user=approver)
    held.update(role=ProjectRole.VIEWER)
    assert decide(second, approval).state == "pending"
    held.update(role=ProjectRole.APPROVER)
    return approval


def test_who_has_voted_carries_it_out(enough_again, decide, approver):
    assert decide(approver, enough_again).state == "approved"
    assert (carried_out(), Vote.objects.count()) == (1, 2)
    assert AuditRecord.objects.filter(action="approval.resume", object_id=str(enough_again.pk)).count() == 1


def test_it_waits_for_them_again(enough_again, approver, second, actor_for):
    for user in (approver, second):
        assert list(query_waiting_for(actor_for(user))) == [enough_again]


def test_their_vote_cannot_be_turned(enough_again, decide, approver):
    with pytest.raises(Conflict) as refused:
        decide(approver, enough_again, "reject")
    assert refused.value.code == "already_voted"


def test_facts_that_changed_void_it_all_the_same(enough_again, decide, approver, subject):
    subject.facts["version"] = 9
    with pytest.raises(Conflict) as refused:
        decide(approver, enough_again)
    assert (refused.value.code, carried_out()) == ("approval_void", 0)


def test_while_too_few_count_a_vote_stands(two_needed, second, ask, decide, approver):
    approval = ask()
    decide(approver, approval)
    with pytest.raises(Conflict):
        decide(approver, approval)
