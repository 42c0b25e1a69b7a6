"""A dataset version of a period: from what was sent to a table, by the job that reads the parts."""
# ruff: noqa: F401, F811 - fixtures of another folder

import json
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from apps.data.datasets.models import DatasetVersion
from apps.ml.observations.services import create_dataset_version
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.lineage.models import Edge
from deepseek.observations.spec import ObservationsSpec
from tests.apps.ml.observations.conftest import hour, label, predict, source, versions
from workers import tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def test_a_period_becomes_a_dataset_version(
    worker,
    predict,
    label,
    source,
    hour,
    actor_for,
    engineer,
    tmp_path,
    settings,
):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    predict("a", features={"x": 1, "y": "p"}, latency_ms=2.0)
    predict("b", features={"x": 2.5, "label": True})
    predict("c", version=2, features={"x": 3})
    predict("out", at=hour - timedelta(hours=1))
    label("a", "out")
    label("b", label="down")
    spec = ObservationsSpec(source="live", since=hour, until=hour + timedelta(hours=1), version=1, model="wti")
    create_dataset_version(actor=actor_for(engineer), source=source, dataset="seen", spec=spec)
    tasks.run_next("cpu")
    job = Job.objects.get(kind="observations")
    assert job.state == "succeeded", job.error
    version = DatasetVersion.objects.get(dataset__name="seen")
    assert (version.rows, json.loads(job.spec)["version"]) == (2, 1)
    table = tmp_path / "table.parquet"
    table.write_bytes(b"".join(get_store().open(version.files.get().artifact_id)))
    rows = pq.read_table(table).select(["prediction_id", "x", "y", "feature_label", "prediction", "label"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("a", 1.0, "p", None, "up", "up"),
        ("b", 2.5, None, True, "up", "down"),
    ]
    ends = {(edge.source_type, edge.target_type) for edge in Edge.objects.all()}
    assert {("artifact", "job"), ("job", "dataset_version")} <= ends
