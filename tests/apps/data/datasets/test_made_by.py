"""What made a version is answered whole, and the same on its page."""

import pytest
from django.utils import timezone

from apps.data.datasets.services import add_version_from_job_output, create_dataset
from apps.data.datasets.versions.manifest import PARQUET
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.provenance import record_provenance
from apps.platform.jobs.states import JobState

pytestmark = pytest.mark.django_db
ENVIRONMENT = {"python": "3.11.9", "packages": {"numpy": "2.2"}, "node": "node-7", "platform": "Linux"}


@pytest.fixture
def cleaned(worker_actor, project, held, job, added, report):
    """A version that a job made of an uploaded one."""
    added({"table.csv": held()}, media_type="text/csv")
    made_by = job(table=held())
    outputs = [
        ("table", held(b"PAR1 a"), "table.parquet", PARQUET, {"rows": 3}),
        ("quality_after", held(report()), "quality_after.json", "application/json", {}),
    ]
    for slot, artifact, name, kind, meta in outputs:
        JobOutput.objects.create(job=made_by, slot=slot, artifact=artifact, name=name, media_type=kind, meta=meta)
    record_provenance(actor=worker_actor, job=made_by, code_digest="c" * 64, environment=ENVIRONMENT)
    Job.objects.filter(pk=made_by.pk).update(state=JobState.SUCCEEDED, ended_at=timezone.now())
    facts = {"dataset_name": "clean", "outputs": outputs, "job": made_by, "params": {"window_size": 5}}
    return add_version_from_job_output(actor=worker_actor, project=project, script="deepseek.clean 0.1.0", **facts)[0]


def test_whole(api, viewer, cleaned, held):
    found = api(viewer).get("/api/v1/projects/demo/datasets/clean/versions/1/made-by").json()
    assert (found["script"], found["code_digest"], found["params"]) == (
        "deepseek.clean 0.1.0",
        "c" * 64,
        {"window_size": 5},
    )
    assert found["quality"] == cleaned.quality_id
    assert [(one["slot"], one["type"], one["label"]) for one in found["inputs"]] == [
        ("table", "dataset_version", "wti-daily v1")
    ]
    assert [one["slot"] for one in found["outputs"]] == ["quality_after", "table"]
    assert (found["job"]["id"], found["node"], found["environment"]["packages"]) == (
        cleaned.job_id,
        "node-7",
        {"numpy": "2.2"},
    )


def test_a_younger_version_of_the_same_bytes_is_no_source(web, viewer, cleaned, added, worker_actor, project, held):
    other = create_dataset(actor=worker_actor, project=project, name="copied")
    added({"table.csv": held()}, into=other, media_type="text/csv")
    page = web(viewer).get("/p/demo/data/clean/1").content.decode()
    assert ">wti-daily v1</a>" in page
    assert "copied v1" not in page


def test_of_a_job(api, viewer, cleaned):
    found = api(viewer).get(f"/api/v1/projects/demo/jobs/{cleaned.job_id}/made-by").json()
    assert (found["code_digest"], found["quality"]) == ("c" * 64, cleaned.quality_id)


def test_an_upload_has_no_job(api, viewer, added, held):
    added({"table.csv": held()}, script="upload", media_type="text/csv")
    found = api(viewer).get("/api/v1/projects/demo/datasets/wti-daily/versions/1/made-by").json()
    assert (found["script"], found["job"], found["inputs"], found["code_digest"]) == ("upload", None, [], "")


def test_another_project_sees_nothing(api, stranger, cleaned):
    base = "/api/v1/projects/demo"
    assert api(stranger).get(f"{base}/datasets/clean/versions/1/made-by").status_code == 404
    assert api(stranger).get(f"{base}/jobs/{cleaned.job_id}/made-by").status_code == 404


def test_the_lineage_tab_says_it(web, viewer, cleaned):
    for page in ("data/clean/1/lineage", f"jobs/{cleaned.job_id}/lineage"):
        text = web(viewer).get(f"/p/demo/{page}").content.decode()
        assert all(word in text for word in ("What made this", "node-7", "numpy 2.2", "cccccccc", "wti-daily v1"))
