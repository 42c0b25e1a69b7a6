from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.platform.nodes.models import Node


@pytest.fixture
def facts():
    """What a worker says of its machine when it registers."""
    return {
        "host": "gpu-01.plant",
        "boot_id": "b1",
        "process_id": 10,
        "queues": ["cpu", "gpu"],
        "cpus": 16,
        "memory_bytes": 64 * 2**30,
        "disk_bytes": 10**12,
        "gpus": [{"index": 0, "name": "A100", "memory_bytes": 40 * 2**30, "driver": "550", "uuid": "GPU-1"}],
        "hardware": {"processor": "EPYC"},
    }


@pytest.fixture
def node(db):
    """One node that was heard of just now."""
    made = Node.objects.create(name="gpu-01", host="gpu-01.plant", cpus=16, memory_bytes=64 * 2**30)
    heard(made, 0)
    return made


def heard(node: Node, seconds: float) -> None:
    """Let the last heartbeat be so many seconds ago, by the database's clock."""
    Node.objects.filter(pk=node.pk).update(heartbeat_at=Now() - timedelta(seconds=seconds))


@pytest.fixture
def heard_of():
    return heard
