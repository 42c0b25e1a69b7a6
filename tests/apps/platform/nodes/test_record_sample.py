"""What a heartbeat leaves for whoever looks back."""

from __future__ import annotations

import pytest

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes import samples
from apps.platform.nodes.models import NodeSample
from apps.platform.nodes.services import record_sample

pytestmark = [pytest.mark.django_db, pytest.mark.services]
GB = 10**9
LOAD = {
    "cpu_share": 0.5,
    "memory_total_bytes": 64 * GB,
    "memory_free_bytes": 40 * GB,
    "disk_total_bytes": 100 * GB,
    "disk_free_bytes": 70 * GB,
    "store_total_bytes": None,
    "store_free_bytes": None,
    "gpus": [{"index": 0, "busy": 0.25, "memory_bytes": 40 * GB, "memory_free_bytes": 30 * GB, "temperature": 61}],
}


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds): the database's clock stands so many seconds after a whole quarter of a minute."""

    def stand(seconds: float) -> None:
        now = samples.datetime.fromtimestamp(1_800_000_000 + seconds, samples.UTC)
        monkeypatch.setattr(samples, "get_database_now", lambda: now)

    return stand


def test_keeps_what_is_used_not_what_is_free(worker_actor, node):
    assert record_sample(actor=worker_actor, node=node, load=LOAD, running=2)
    row = NodeSample.objects.get()
    assert (row.cpu_share, row.memory_used_bytes, row.disk_used_bytes, row.running_jobs) == (0.5, 24 * GB, 30 * GB, 2)
    assert row.store_used_bytes is None
    card = {"index": 0, "busy": 0.25, "memory_used_bytes": 10 * GB, "memory_bytes": 40 * GB, "temperature": 61}
    assert row.gpus == [card]
    assert not AuditRecord.objects.exists()


def test_one_sample_stands_for_fifteen_seconds(worker_actor, node, clock):
    kept = []
    for seconds in (0, 5, 14.9, 15, 29, 31):
        clock(seconds)
        kept.append(record_sample(actor=worker_actor, node=node, load=LOAD, running=0))
    assert kept == [True, False, False, True, False, True]
    assert NodeSample.objects.count() == 3


def test_a_load_of_an_older_worker_leaves_gaps(worker_actor, node):
    load = {"cpu_share": 0.1, "memory_free_bytes": 5, "gpus": [{"index": 0, "busy": None, "memory_free_bytes": 3}]}
    record_sample(actor=worker_actor, node=node, load=load, running=0)
    row = NodeSample.objects.get()
    assert (row.cpu_share, row.memory_used_bytes, row.gpus) == (0.1, None, [])


def test_takes_a_worker(actor_for, sysadmin, node):
    with pytest.raises(Refused):
        record_sample(actor=actor_for(sysadmin), node=node, load=LOAD, running=0)
