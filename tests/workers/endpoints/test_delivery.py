import json

import pytest

from apps.ml.endpoints.models import Replica
from apps.ml.observations.models import Prediction
from workers.endpoints.delivery import deliver_predictions

pytestmark = pytest.mark.django_db
ROW = {"at": "2026-11-29T10:00:00+00:00", "model": "oil", "version": 1, "variant": "fp32", "shadow": False}


@pytest.fixture
def folder(tmp_path):
    """Where the server of a replica records."""
    (tmp_path / "recorded").mkdir()
    return tmp_path / "recorded"


@pytest.fixture
def record(folder):
    """record(name, ids, **fields) writes a file as a server does."""

    def write(name, ids, **fields):
        rows = [{**ROW, "id": key, "answer": 1.5, "features": [1, 2], "latency_ms": 0.5, **fields} for key in ids]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write


def test_recorded_predictions_become_observations_once(node, version, create, worker_actor, record, folder):
    create(sampling_rate=0.5)
    replica = Replica.objects.select_related("endpoint__model").get()
    record("1.jsonl", ["a", "b"])
    record("2.jsonl", ["b", "c"])  # b again: a worker died before it removed the file
    record("3.jsonl.part", ["d"])  # its server still writes it
    record("4.jsonl", ["e"], version=9)
    deliver_predictions(worker_actor, replica, folder)
    stored = Prediction.objects.filter(source__name="oil")
    assert set(stored.values_list("key", flat=True)) == {"a", "b", "c"}
    assert sorted(path.name for path in folder.iterdir()) == ["3.jsonl.part", "4.refused"]


def test_nothing_is_delivered_of_an_endpoint_that_samples_nothing(node, version, create, worker_actor, record, folder):
    create()
    record("1.jsonl", ["a"])
    deliver_predictions(worker_actor, Replica.objects.select_related("endpoint__model").get(), folder)
    assert [path.name for path in folder.iterdir()] == ["1.jsonl"]
