import pytest

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.approvals.services import withdraw
from tests.conftest import member


def test_its_requester_takes_it_back(ask, engineer, actor_for):
    approval = ask()
    assert withdraw(actor=actor_for(engineer), approval=approval, reason="Wrong version.").state == "withdrawn"
    with pytest.raises(Conflict) as refusal:
        withdraw(actor=actor_for(engineer), approval=approval, reason="Again.")
    assert refusal.value.code == "already_decided"
    assert ask().state == "pending"


def test_nobody_else_does(ask, project, approver, actor_for):
    approval = ask()
    other = member(project, "colleague", ProjectRole.ENGINEER)
    with pytest.raises(Refused) as refusal:
        withdraw(actor=actor_for(other), approval=approval, reason="Not mine.")
    assert refusal.value.code == "not_yours"
    with pytest.raises(Refused):
        withdraw(actor=actor_for(approver), approval=approval, reason="Not mine.")


def test_it_takes_a_reason(ask, engineer, actor_for):
    with pytest.raises(Invalid) as refusal:
        withdraw(actor=actor_for(engineer), approval=ask(), reason="")
    assert refusal.value.field == "/reason"
