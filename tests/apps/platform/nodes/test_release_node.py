import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import hold_node, release_node

pytestmark = pytest.mark.django_db


def test_releases_and_records_it(operator, actor_for, sysadmin, node):
    hold_node(actor=operator, node=node, reason="fan")
    released = release_node(actor=actor_for(sysadmin), node=node)
    assert (released.held_at, released.held_reason) == (None, "")
    assert AuditRecord.objects.filter(action="node.release").count() == 1


def test_not_held(operator, node):
    with pytest.raises(Conflict):
        release_node(actor=operator, node=node)
    assert not AuditRecord.objects.exists()


def test_takes_a_system_administrator(operator, actor_for, engineer, node):
    hold_node(actor=operator, node=node, reason="fan")
    with pytest.raises(Refused):
        release_node(actor=actor_for(engineer), node=node)
    assert Node.objects.get().held_at is not None
