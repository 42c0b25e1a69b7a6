import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import hold_node

pytestmark = pytest.mark.django_db


def test_holds_with_its_reason_and_records_it(actor_for, sysadmin, node):
    held = hold_node(actor=actor_for(sysadmin), node=node, reason=" fan broken ")
    assert held.held_at is not None
    assert held.held_reason == "fan broken"
    assert '"reason":"fan broken"' in AuditRecord.objects.get(action="node.hold").body


def test_held_already_keeps_the_first_reason(operator, node):
    hold_node(actor=operator, node=node, reason="first")
    with pytest.raises(Conflict):
        hold_node(actor=operator, node=node, reason="second")
    assert Node.objects.get().held_reason == "first"
    assert AuditRecord.objects.count() == 1


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201])
def test_needs_a_reason(operator, node, reason):
    with pytest.raises(Invalid) as caught:
        hold_node(actor=operator, node=node, reason=reason)
    assert caught.value.field == "reason"
    assert caught.value.limit


@pytest.mark.parametrize("who", ["engineer", "approver", "auditor", "secadmin"])
def test_takes_a_system_administrator(request, actor_for, node, who):
    with pytest.raises(Refused):
        hold_node(actor=actor_for(request.getfixturevalue(who)), node=node, reason="fan")
    assert Node.objects.get().held_at is None
