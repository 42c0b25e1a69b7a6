import pytest

from apps.platform.nodes.health.services import issue_node_token
from apps.platform.nodes.models import Node

RESULT = {
    "kind": "tcp",
    "target": "192.0.2.1",
    "protocol": "tcp",
    "port": 443,
    "verdict": "refused",
    "refused_by": "rule",
    "rule": "tcp",
    "error": "EHOSTUNREACH",
    "packets_left": 0,
    "seconds": 1.0,
    "at": "2026-11-29T12:00:00Z",
}


@pytest.fixture
def node(db):
    return Node.objects.create(name="gpu-01", host="gpu-01.plant", cpus=16, memory_bytes=64 * 2**30)


@pytest.fixture
def node_client(client, node, operator):
    """Sends as the node does: `node_client(method, path, body)`."""
    secret = issue_node_token(actor=operator, node=node)

    def send(method, path, body=None, *, token=secret):
        call = getattr(client, method)
        headers = {"Authorization": f"Bearer {token}"}
        address = f"/api/v1/doctor/nodes/{path}"
        return (
            call(address, body, content_type="application/json", headers=headers)
            if body
            else call(address, headers=headers)
        )

    return send


@pytest.fixture
def build_report():
    """What a node sends: `build_report("refused", "passed")` has two results."""

    def build(*verdicts, digest=""):
        results = [{**RESULT, "verdict": verdict} for verdict in verdicts]
        return {"format": 1, "host": "gpu-01", "policy_digest": digest, "is_privileged": True, "results": results}

    return build
