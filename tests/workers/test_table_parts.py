"""From a version of Parquet parts through real attempts: its report, a cleaned table, and the lineage of both."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.quality.profile_jobs import measure_version
from apps.data.datasets.queries import read_quality_report
from apps.data.datasets.services import add_files
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.jobs.states import JobState
from apps.platform.lineage.models import Edge
from workers import tasks

pytestmark = pytest.mark.services
TABLE = pa.table({"day": [1, 2, 3, 4, 5], "close": [57.3, None, 58.1, 57.9, 60.0]})


@pytest.fixture
def version(actor_for, engineer, project):
    files = []
    for name, start, rows in (("a", 0, 2), ("b", 2, 0), ("c", 2, 3)):
        sink = io.BytesIO()
        pq.write_table(TABLE.slice(start, rows), sink)
        with get_store().open_staging() as staging:
            staging.write(sink.getvalue())
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": name})
        files.append((f"{name}.parquet", digest, ""))
    return add_files(actor=actor_for(engineer), project=project, dataset_name="oil", files=files)[0]


def finish(job: Job) -> Job:
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED, job.error
    return job


@pytest.mark.django_db(transaction=True)
def test_parts_are_profiled_and_cleaned_as_one_table(actor_for, engineer, project, worker, version):
    actor = actor_for(engineer)
    job = finish(measure_version(actor=actor, version=version)[0])
    assert list_job_sources(job) == [("dataset_version", str(version.pk), "table")]
    version.refresh_from_db()
    report = read_quality_report(actor, version)
    assert (report["rows"], report["columns"][1]["missing"]) == (5, 1)

    submission = Submission(
        kind="clean",
        spec={"steps": [{"kind": "fill_forward", "columns": ["close"]}]},
        inputs=[InputSpec(slot="table", digest=version.digest)],
        register={"dataset": "clean"},
    )
    job = finish(submit_job(actor=actor, project=project, submission=submission)[0])
    cleaned = DatasetVersion.objects.get(dataset__name="clean")
    assert (cleaned.rows, cleaned.origin_version, cleaned.keeps_rows) == (5, version, True)
    assert list_job_sources(job) == [("dataset_version", str(version.pk), "table")]


def list_job_sources(job: Job) -> list[tuple[str, str, str]]:
    """(kind, key, slot) of what went into the job, as its lineage says."""
    return list(
        Edge.objects.filter(target_type="job", target_id=str(job.pk)).values_list("source_type", "source_id", "role")
    )
