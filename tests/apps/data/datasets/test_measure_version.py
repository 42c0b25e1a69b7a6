"""Measuring a version: one job at a time, one report for all versions of the same bytes, a version of what holds."""

import json
from dataclasses import replace

import pytest

from apps.core.errors import Conflict, Refused
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.quality.profile_jobs import measure_added, measure_version, register_measurements
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.versions.manifest import PARQUET
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import claim_job
from apps.platform.lineage.models import Edge
from apps.platform.nodes.models import Node

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/versions"
PLAIN = {"delimiter": ",", "encoding": "utf-8"}
RANGE = {"kind": "range", "column": "close", "minimum": 0}


@pytest.fixture
def actor(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def end(worker_actor, held, report):
    """end(job, rows=...) -> what becomes of a job that has measured its table."""

    def ended(job, **meta):
        told = held(report(), media_type="application/json")
        columns = [{"name": "close", "dtype": "double"}]
        read = {name: json.loads(job.spec).get("csv", {}).get(name, given) for name, given in PLAIN.items()}
        meta = {"rows": 3, "columns": columns, "format": "csv", "csv": read, "expectations_failed": 0} | meta
        outputs = [("quality", told, "quality.json", "application/json", meta)]
        return told, register_measurements(actor=worker_actor, job=job, outputs=outputs)

    return ended


@pytest.fixture
def version(added, held):
    return added({"table.csv": held()}, media_type="text/csv; charset=gb18030; delimiter=%3B")[0]


def test_the_job_reads_the_table_as_its_upload_did(actor, version):
    job, is_new = measure_version(actor=actor, version=version)
    assert (is_new, job.kind, job.register, job.name) == (True, "profile", {}, "wti-daily v1")
    spec = json.loads(job.spec)
    assert (spec["csv"]["delimiter"], spec["csv"]["encoding"], spec["on_failure"]) == (";", "gb18030", "report")


def test_asked_twice_it_is_measured_once(actor, version):
    first = measure_version(actor=actor, version=version)[0]
    assert measure_version(actor=actor, version=version) == (first, False)


def test_the_report_becomes_the_versions(actor, version, end):
    told, found = end(measure_version(actor=actor, version=version)[0])
    version.refresh_from_db()
    assert (found, version.quality_id) == ([version], told.pk)
    with pytest.raises(Conflict, match="quality report already"):
        measure_version(actor=actor, version=version)
    assert set(Edge.objects.values_list("source_type", "target_type")) == {
        ("dataset_version", "job"),
        ("job", "artifact"),
    }


def test_bytes_that_were_read_otherwise_are_not_measured_by_it(actor, version, end, added, held, dataset):
    other = added({"other.csv": held()}, media_type="text/csv")[0]
    end(measure_version(actor=actor, version=other)[0])
    version.refresh_from_db()
    assert version.quality_id is None


def test_what_the_dataset_expects_goes_in_and_blocks_nothing(actor, version, dataset):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    version.dataset.refresh_from_db()
    spec = json.loads(measure_version(actor=actor, version=version)[0].spec)
    assert (len(spec["expectations"]), spec["on_failure"]) == (1, "report")


def test_a_viewer_may_not(actor_for, viewer, version):
    with pytest.raises(Refused):
        measure_version(actor=actor_for(viewer), version=version)


def test_over_rest(api, engineer, version):
    answer = api(engineer).post(f"{URL}/1/measure", {})
    assert (answer.status_code, answer.json()["kind"]) == (201, "profile")
    assert api(engineer).post(f"{URL}/1/measure", {}).status_code == 200
    assert api(engineer).post(f"{URL}/2/measure", {}).status_code == 404


def test_an_upload_is_measured_unless_one_asks_for_none(api, engineer, project):
    upload = {"content_type": "text/csv", "data": b"day,close\n1,2\n"}
    answer = api(engineer).generic("POST", URL, **upload)
    assert answer.status_code == 201
    assert (Job.objects.get().kind, Job.objects.get().requester) == ("profile", "engineer")
    assert api(engineer).generic("POST", URL, **upload).status_code == 200
    api(engineer).generic("POST", f"{URL}?measure=false", content_type="text/csv", data=b"day,close\n1,3\n")
    assert Job.objects.count() == 1


def test_registered_files_are_measured_where_one_is_a_table(api, engineer, held):
    for path, media_type in (("a.bin", "application/octet-stream"), ("a.csv", "text/csv")):
        file = {"path": path, "digest": held().digest, "media_type": media_type}
        assert api(engineer).post(URL, {"files": [file]}).status_code == 201
    assert [job.name for job in Job.objects.all()] == ["wti-daily v2"]


def test_the_same_bytes_read_otherwise_are_measured_too(actor, version, added, held):
    other = added({"other.csv": held()}, media_type="text/csv")[0]
    jobs = [measure_added(actor=actor, version=each) for each in (version, other, version)]
    assert jobs[0] == jobs[2] != jobs[1]


def test_who_may_not_submit_jobs_has_the_plane_measure(actor, version, worker_actor):
    token = replace(actor, scopes=frozenset({"data:write"}))
    job = measure_added(actor=token, version=version)
    assert (job.requester, job.grant["kind"], job.state) == ("dispatcher", "plane", "queued")
    assert measure_added(actor=actor, version=version) == job
    node = Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=8 * 2**30)
    assert claim_job(actor=worker_actor, node=node, owner="a", queue="cpu") == job
    with pytest.raises(Refused):
        measure_version(actor=token, version=version)


def test_what_has_no_rows_is_not_measured(actor, added, held):
    assert measure_added(actor=actor, version=added({"a.bin": held()}, media_type="text/plain")[0]) is None
    assert measure_added(actor=actor, version=added({"a.csv": held(b"")}, media_type="text/csv")[0]) is None


def test_an_upload_to_a_dataset_that_expects_something_waits_for_its_check(api, engineer, actor, dataset, end):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    upload = {"content_type": "text/csv", "data": b"day;close\n1;2\n"}
    answer = api(engineer).generic("POST", f"{URL}?note=May", **upload)
    assert (answer.status_code, answer.json()["register"]) == (202, {"dataset": "wti-daily"})
    assert not DatasetVersion.objects.exists()
    job = Job.objects.get()
    assert json.loads(job.spec)["on_failure"] == "fail"
    told, made = end(job, rows=1)
    version = DatasetVersion.objects.get()
    assert made == [version]
    assert (version.number, version.quality_id, version.note, version.job_id) == (1, told.pk, "May", job.pk)
    assert (version.media_type, version.rows, version.script) == ("text/csv; delimiter=%3B", 1, "upload")
    again = api(engineer).generic("POST", f"{URL}?delimiter=%3B", **upload)
    assert (again.status_code, again.json()["number"]) == (200, 1)


def test_a_parquet_file_too(api, engineer, actor, dataset, held, end):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    artifact = held(b"PAR1", media_type=PARQUET)
    answer = api(engineer).post(URL, {"artifact": artifact.pk})
    assert answer.status_code == 202
    version = end(Job.objects.get(), format="parquet")[1][0]
    assert (version.media_type, version.files.get().path) == (PARQUET, "table.parquet")
    assert api(engineer).post(URL, {"artifact": artifact.pk}).status_code == 200


def test_its_page_asks_again_while_a_job_measures_it(actor, engineer, web, version, end):
    client, page = web(engineer), "/p/demo/data/wti-daily/1"
    assert 'hx-get="' not in client.get(f"{page}/measuring").content.decode()
    job = measure_version(actor=actor, version=version)[0]
    context = client.get(page).context
    assert context["measuring"] == job
    answer = client.get(f"{page}/measuring")
    assert (f'hx-get="{page}/measuring"' in answer.content.decode(), "HX-Refresh" in answer.headers) == (True, False)
    end(job)
    assert client.get(page).context["measuring"] is None
    assert client.get(f"{page}/measuring").headers["HX-Refresh"] == "true"
    assert web(engineer).get("/p/demo/data/wti-daily/9/measuring").status_code == 404
