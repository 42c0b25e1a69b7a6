import pytest

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.models import ONLINE_SECONDS, Node
from apps.platform.nodes.services import hold_node, record_heartbeat

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def status():
    found = Node.objects.with_status().get()
    assert found.online is (found.status != "offline")
    return found.status


def test_brings_a_silent_node_back_and_is_not_recorded(worker_actor, node, heard_of):
    heard_of(node, ONLINE_SECONDS + 1)
    assert status() == "offline"
    assert record_heartbeat(actor=worker_actor, node=node, load={"cpu_share": 0.5})
    assert status() == "online"
    assert Node.objects.get().load == {"cpu_share": 0.5}
    assert not AuditRecord.objects.exists()


@pytest.mark.parametrize(("seconds", "expected"), [(ONLINE_SECONDS - 2, "online"), (ONLINE_SECONDS + 1, "offline")])
def test_online_is_fifteen_seconds(node, heard_of, seconds, expected):
    heard_of(node, seconds)
    assert status() == expected


def test_never_heard_of_is_offline(node):
    Node.objects.update(heartbeat_at=None)
    assert status() == "offline"


@pytest.mark.parametrize(("seconds", "expected"), [(0, "held"), (60, "offline")])
def test_held_shows_only_while_it_lives(operator, node, heard_of, seconds, expected):
    hold_node(actor=operator, node=node, reason="fan")
    heard_of(node, seconds)
    found = Node.objects.with_status().get()
    assert (found.status, found.online) == (expected, seconds == 0)


def test_tells_that_the_row_is_gone(worker_actor, node):
    Node.objects.all().delete()
    assert not record_heartbeat(actor=worker_actor, node=node, load={})


def test_only_a_worker_sends_it(actor_for, engineer, node):
    with pytest.raises(Refused):
        record_heartbeat(actor=actor_for(engineer), node=node, load={})
