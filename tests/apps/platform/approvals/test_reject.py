import pytest

from apps.core.errors import Conflict, Invalid
from apps.platform.approvals.models import Vote
from tests.apps.platform.approvals.stand_in import carried_out


def test_one_rejection_ends_it(two_needed, second, ask, decide, approver):
    approval = decide(approver, ask(), "reject", reason="Too few cases.")
    assert (approval.state, carried_out()) == ("rejected", 0)
    assert Vote.objects.get().reason == "Too few cases."
    with pytest.raises(Conflict) as refusal:
        decide(second, approval)
    assert refusal.value.code == "already_decided"


def test_it_needs_a_reason_and_what_was_seen(ask, decide, approver):
    approval = ask()
    with pytest.raises(Invalid):
        decide(approver, approval, "reject", reason=" ")
    with pytest.raises(Conflict):
        decide(approver, approval, "reject", facts_digest="")
    approval.refresh_from_db()
    assert approval.state == "pending"
