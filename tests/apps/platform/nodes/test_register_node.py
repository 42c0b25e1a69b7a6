import pytest

from apps.core.errors import Invalid, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import hold_node, register_node

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def records():
    return AuditRecord.objects.filter(action="node.register")


def test_makes_the_node_online_and_records_it(worker_actor, facts):
    node = register_node(actor=worker_actor, name="gpu-01", **facts)
    assert Node.objects.with_status().get().status == "online"
    assert (node.host, node.cpus, node.gpus[0]["name"]) == ("gpu-01.plant", 16, "A100")
    assert records().get().object_id == str(node.pk)


def test_a_restart_updates_the_process_and_is_not_recorded(worker_actor, facts):
    register_node(actor=worker_actor, name="gpu-01", **facts)
    node = register_node(actor=worker_actor, name="gpu-01", **facts | {"process_id": 11, "boot_id": "b2"})
    assert (node.process_id, node.boot_id) == (11, "b2")
    assert Node.objects.count() == records().count() == 1


def test_other_hardware_is_recorded_with_what_changed(worker_actor, facts):
    register_node(actor=worker_actor, name="gpu-01", **facts)
    register_node(actor=worker_actor, name="gpu-01", **facts | {"gpus": [], "cpus": 8})
    body = records().latest("pk").body
    assert '"after":{"cpus":8.0,"gpus":[]}' in body
    assert '"host"' not in body


def test_a_hold_outlives_a_restart(worker_actor, operator, facts):
    node = register_node(actor=worker_actor, name="gpu-01", **facts)
    hold_node(actor=operator, node=node, reason="fan")
    assert register_node(actor=worker_actor, name="gpu-01", **facts).held_reason == "fan"


@pytest.mark.parametrize("name", ["", " ", "n" * 121])
def test_refuses_a_name(worker_actor, facts, name):
    with pytest.raises(Invalid) as caught:
        register_node(actor=worker_actor, name=name, **facts)
    assert caught.value.field == "name"
    assert not Node.objects.exists()


@pytest.mark.parametrize("who", ["engineer", "sysadmin"])
def test_only_a_worker_registers(request, actor_for, facts, who):
    with pytest.raises(Refused):
        register_node(actor=actor_for(request.getfixturevalue(who)), name="gpu-01", **facts)
    assert not Node.objects.exists()
