import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.nodes.health.authentication import build_node_actor
from apps.platform.nodes.health.services import issue_node_token
from tests.apps.platform.nodes.conftest import facts, heard, node

__all__ = ["facts", "node"]


@pytest.fixture
def node_secret(operator, node):
    """The token of the node's doctor."""
    return issue_node_token(actor=operator, node=node)


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER)


@pytest.fixture
def node_actor(node):
    return build_node_actor(node)


@pytest.fixture
def other_node(node):
    other = type(node).objects.create(name="gpu-02", host="gpu-02.plant")
    heard(other, 0)
    return other


def build_check(check_id="gpu.xid", verdict="fail", **columns):
    row = {"id": check_id, "group": "GPU health", "verdict": verdict, "why": "Xid 79.", "remedy": "Reseat the card."}
    return {**row, "level": 1, "required": True, **columns}


def build_report(*checks, **columns):
    """What deepseek-doctor sends."""
    rows = list(checks) or [build_check(), build_check("cpu.count", "ok", required=True)]
    return {"format": "deepseek-doctor/1", "level": 1, "seconds": 9.5, "software": "x 1", "checks": rows, **columns}
