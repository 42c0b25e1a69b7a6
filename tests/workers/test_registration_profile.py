"""From an upload through a real attempt to the report of a version, and to a version that did not come to be."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from apps.data.datasets.ingest.uploads import ingest_csv, ingest_table
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.quality.profile_jobs import measure_version
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.queries import read_quality_report
from apps.data.datasets.versions.manifest import ARROW, JSON_LINES, PARQUET
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from workers import tasks

pytestmark = pytest.mark.services


@pytest.fixture
def actor(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def held(project):
    def put(data: bytes) -> Artifact:
        with get_store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "t.csv"})
        return artifact

    return put


@pytest.fixture
def upload(actor, project, worker, held):
    return lambda data: ingest_csv(actor=actor, project=project, dataset_name="oil", artifact=held(data), delimiter=";")


def done(job: Job) -> Job:
    tasks.run_next("cpu")
    job.refresh_from_db()
    return job


@pytest.mark.django_db(transaction=True)
def test_upload_is_profiled_and_next_one_checked(actor, project, worker, upload):
    version, _ = upload(b"day;close\n1;57.3\n2;\n")
    assert done(measure_version(actor=actor, version=version)[0]).state == JobState.SUCCEEDED
    version.refresh_from_db()
    report = read_quality_report(actor, version)
    assert (report["schema"], report["columns"][1]["missing"]) == ("plane/quality-report/v3", 1)

    wanted = {"kind": "range", "column": "close", "maximum": 60}
    set_expectations(actor=actor, dataset=version.dataset, expectations=[wanted])
    failed = done(upload(b"day;close\n1;57.3\n2;99\n"))
    assert (failed.state, failed.error["code"]) == (JobState.FAILED, "expectation_failed")
    assert "1 of 2 rows break it. The first: row 2: 99.0." in failed.error["message"]
    assert DatasetVersion.objects.count() == 1
    assert done(upload(b"day;close\n1;57.3\n2;58\n")).state == JobState.SUCCEEDED
    made = DatasetVersion.objects.get(number=2)
    assert (made.rows, made.columns[1]["dtype"], made.params["delimiter"]) == (2, "double", ";")
    assert read_quality_report(actor, made)["expectations"][0]["verdict"] == "pass"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [JSON_LINES, ARROW, PARQUET])
def test_other_table_formats_become_versions(actor, project, worker, held, kind):
    to = {"actor": actor, "project": project, "dataset_name": "oil", "kind": kind}
    assert done(ingest_table(artifact=held(bytes_of(kind)), **to)).state == JobState.SUCCEEDED
    version = DatasetVersion.objects.get()
    assert (version.media_type, version.rows, [each["name"] for each in version.columns]) == (kind, 2, ["day", "close"])
    assert read_quality_report(actor, version)["rows"] == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kind", "code"), [(JSON_LINES, "broken_json"), (ARROW, "broken_arrow"), (PARQUET, "broken_parquet")]
)
def test_broken_table_becomes_no_version(actor, project, worker, held, kind, code):
    artifact = held(bytes_of(kind)[:30])
    job = done(ingest_table(actor=actor, project=project, dataset_name="oil", artifact=artifact, kind=kind))
    assert (job.state, job.error["code"]) == (JobState.FAILED, code)
    assert not DatasetVersion.objects.exists()


def bytes_of(kind: str) -> bytes:
    table = pa.table({"day": [1, 2], "close": [57.3, None]})
    if kind == JSON_LINES:
        return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()
    sink = pa.BufferOutputStream()
    if kind == PARQUET:
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()
