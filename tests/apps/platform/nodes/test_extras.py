"""What a node has beyond the core is looked for, reported, and changes its description."""

import pytest

from apps.platform.audit.models import AuditRecord
from apps.platform.nodes import extras
from apps.platform.nodes.services import register_node


@pytest.mark.parametrize(
    ("installed", "programs", "hosts", "found"),
    [
        (True, True, ["a"], ["collect", "collect-browser", "federation", "language", "onnx", "scale"]),
        (True, False, ["a"], ["collect", "federation", "language", "onnx", "scale"]),
        (False, True, ["a"], []),
        (True, True, [], ["federation", "language", "onnx", "scale"]),
    ],
)
def test_what_is_there_is_found(monkeypatch, installed, programs, hosts, found):
    monkeypatch.setattr(extras, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(extras, "is_executable", lambda program: programs)
    assert extras.detect_extras(hosts) == found


def test_a_program_is_looked_for_where_the_engine_will(tmp_path):
    assert extras.is_executable("sh")
    assert not extras.is_executable("no-such-program")
    assert not extras.is_executable(str(tmp_path / "absent"))


@pytest.mark.django_db
def test_a_node_with_a_new_extra_is_another_machine(worker_actor):
    facts = {"host": "h", "boot_id": "b", "process_id": 1, "queues": ["cpu"], "cpus": 1.0, "memory_bytes": 1}
    facts |= {"disk_bytes": 1, "gpus": [], "hardware": {}}
    register_node(actor=worker_actor, name="n1", **facts)
    node = register_node(actor=worker_actor, name="n1", extras=["collect"], **facts)
    assert node.extras == ["collect"]
    assert AuditRecord.objects.filter(action="node.register").count() == 2


@pytest.mark.django_db
def test_they_are_shown(worker_actor, api, web, engineer):
    facts = {"host": "h", "boot_id": "b", "process_id": 1, "queues": ["cpu"], "cpus": 1.0, "memory_bytes": 1}
    register_node(actor=worker_actor, name="n1", extras=["collect"], disk_bytes=1, gpus=[], hardware={}, **facts)
    assert api(engineer).get("/api/v1/nodes/n1").json()["extras"] == ["collect"]
