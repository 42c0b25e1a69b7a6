"""The bytes of a dataset with a marked column leave by MLflow's addresses for a named purpose only."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.data.personal_data.services import mark_column
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.models import AuditRecord
from tests.apps.gateways.mlflow.conftest import FILES

TABLE = b"name,phone\nwang,13812345678\n"


@pytest.fixture
def logged(track, place, project, engineer, worker_actor, actor_for):
    """The address of a file of a run, with the bytes of a dataset whose column `phone` is marked."""
    track.put(f"{place}/people.csv", TABLE, content_type="text/csv")
    dataset = create_dataset(actor=worker_actor, project=project, name="people")
    add_version(
        actor=worker_actor,
        dataset=dataset,
        files=[("people.csv", Artifact.objects.get(pk=sha256_hex(TABLE)), "text/csv")],
        media_type="text/csv",
        rows=1,
        columns=[{"name": name, "dtype": "string"} for name in ("name", "phone")],
        script="test",
        params={},
    )
    mark_column(
        actor=actor_for(engineer),
        dataset=dataset,
        column="phone",
        category="phone",
        purpose="Shift planning",
        legal_basis="contract",
        retain_until=timezone.localdate() + timedelta(days=30),
    )
    return f"{place}/people.csv"


def test_each_way_asks_for_a_purpose(track, logged):
    ways = [f"{FILES}{logged}", f"/api/2.0/mlflow-artifacts/presigned/{logged}"]
    assert {track.refused("GET", way)[:2] for way in ways} == {(403, "PERMISSION_DENIED")}
    track.headers["HTTP_X_PURPOSE"] = "Shift planning"
    assert track.send("GET", ways[0]).getvalue() == TABLE
    assert track.send("GET", ways[1]).status_code == 200
    results = AuditRecord.objects.filter(action="personal_data.use").order_by("pk").values_list("result", flat=True)
    assert sorted(results) == ["done", "done", "refused", "refused"]
