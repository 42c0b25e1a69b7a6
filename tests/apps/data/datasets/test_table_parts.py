"""A version of several Parquet files is one table: compared when it is added, and each part an input of a job."""

import io
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.core.errors import Invalid
from apps.data.datasets.ingest.local_files import ingest
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import find_source_versions
from apps.data.datasets.quality.expectation_gate import check_expectations
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.queries import get_single_table, list_consumer_jobs
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.manifest import PARQUET
from apps.data.datasets.versions.row_diff import find_latest_diff, submit_diff
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/versions"
JOBS = "/api/v1/projects/demo/jobs"
TABLE = pa.table({"day": [1, 2, 3, 4, 5], "close": [57.3, None, 58.1, 57.9, 60.0]})


def encode(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.fixture
def post_parts(api, engineer, held, project):
    """post_parts({path: bytes}) -> the answer to a version of these files."""

    def post(files, **body):
        rows = [
            {"path": path, "digest": held(data, media_type=PARQUET).digest, "media_type": PARQUET}
            for path, data in files.items()
        ]
        return api(engineer).post(URL, {"files": rows, **body}, format="json")

    return post


@pytest.fixture
def version(post_parts, dataset):
    """v1 of three parts, the second of which is empty."""
    rows = {"day/b.parquet": (2, 0), "day/a.parquet": (0, 2), "day/c.parquet": (2, 3)}
    answer = post_parts({path: encode(TABLE.slice(*span)) for path, span in rows.items()})
    assert answer.status_code == 201, answer.json()
    return DatasetVersion.objects.get()


def test_rows_and_columns_are_those_of_all_parts(version):
    assert (version.parts, version.rows, version.size) == (3, 5, sum(f.artifact.size for f in version.files.all()))
    assert version.columns == [{"name": "day", "dtype": "int64"}, {"name": "close", "dtype": "double"}]
    assert dict(version.files.values_list("path", "rows")) == {
        "day/a.parquet": 2,
        "day/b.parquet": 0,
        "day/c.parquet": 3,
    }


def test_a_part_of_other_columns_is_refused(post_parts):
    other = TABLE.set_column(1, "close", pa.array(["high"] * 5))
    answer = post_parts({"b.parquet": encode(other), "a.parquet": encode(TABLE)})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "partition_schema_differs", "/files/0")
    assert error["message"] == "The part b.parquet has the column 'close' as string, the first part as double."
    assert not DatasetVersion.objects.exists()


CUT_PARTS = {
    "end missing": encode(TABLE)[:-9],
    "magic alone": b"PAR1",
    "no bytes": b"",
    "garbage": b"PAR1" + b"\xff" * 40 + b"\x10\0\0\0PAR1",
}


@pytest.mark.parametrize("data", CUT_PARTS.values(), ids=CUT_PARTS)
def test_a_cut_part_is_named(post_parts, data):
    answer = post_parts({"a.parquet": encode(TABLE), "b.parquet": data})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "broken_parquet")
    assert "The part b.parquet" in error["message"]


def test_parts_without_a_row_are_refused(post_parts):
    answer = post_parts({f"{name}.parquet": encode(TABLE.slice(0, 0)) for name in "ab"})
    assert answer.json()["error"]["code"] == "table_empty"


def test_a_job_takes_each_part_by_the_digest_of_the_version(api, engineer, version, actor_for):
    slots = [f"table/day/{name}.parquet" for name in "abc"]
    for answer in (
        api(engineer).post(f"{URL}/1/jobs", {"kind": "clean"}, format="json"),
        api(engineer).post(JOBS, {"kind": "profile", "inputs": {"table": {"digest": version.digest}}}, format="json"),
    ):
        assert answer.status_code == 201, answer.json()
        job = Job.objects.get(pk=answer.json()["id"])
        assert sorted(job.inputs.values_list("slot", flat=True)) == slots
        assert find_source_versions(job, None) == {"table": version}
    users = list_consumer_jobs(actor_for(engineer), version, list(version.files.all()))
    assert [(job.kind, job.slot) for job in users] == [
        ("profile", "table"),
        ("clean", "table"),
        ("profile", "table"),
    ]  # the last measures it


def test_another_file_among_the_parts_is_refused(api, engineer, held, version):
    part = version.files.first().artifact_id
    inputs = {"table/a.parquet": {"digest": part}, "table/b.csv": {"digest": held(b"a\n1\n").pk}}
    answer = api(engineer).post(JOBS, {"kind": "profile", "inputs": inputs}, format="json")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "/inputs/table/b.csv")


def test_a_profile_by_several_processes_takes_a_cpu_for_each(api, engineer, version):
    body = {"kind": "profile", "spec": {"processes": 3}, "inputs": {"table": {"digest": version.digest}}}
    job = Job.objects.get(pk=api(engineer).post(JOBS, body, format="json").json()["id"])
    assert (job.need_cpus, job.need_memory_bytes) == (3, 4 * 2**30)
    answer = api(engineer).post(JOBS, {**body, "needs": {"cpus": 2}}, format="json")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "/spec/processes")


@pytest.mark.services
def test_of_equal_parts_the_version_that_was_there_is_the_source(api, engineer, version, added, worker_actor, project):
    body = {"kind": "profile", "inputs": {"table": {"digest": version.digest}}}
    job = Job.objects.get(pk=api(engineer).post(JOBS, body, format="json").json()["id"])
    other = create_dataset(actor=worker_actor, project=project, name="copy")
    files = list(version.files.select_related("artifact"))
    copy = added({file.path: file.artifact for file in files}, into=other, part_rows={f.path: f.rows for f in files})[0]
    assert copy.digest == version.digest
    assert find_source_versions(job, None) == {"table": version}
    assert find_source_versions(job, other) == {"table": version}


def test_a_kind_of_one_file_refuses_the_digest_of_a_version(api, engineer, version):
    body = {"kind": "train_entities", "inputs": {"texts": {"digest": version.digest}}}
    assert api(engineer).post(JOBS, body, format="json").json()["error"]["code"] == "artifact_not_found"


def test_another_project_finds_no_parts(api, other_project, engineer, version):
    body = {"kind": "profile", "inputs": {"table": {"digest": version.digest}}}
    answer = api(engineer).post(f"/api/v1/projects/{other_project.slug}/jobs", body, format="json")
    assert answer.status_code in (403, 404)


def test_a_dataset_that_demands_a_check_gets_it_from_a_job(post_parts, actor_for, engineer, dataset):
    set_expectations(
        actor=actor_for(engineer), dataset=dataset, expectations=[{"kind": "range", "column": "close", "maximum": 58}]
    )
    answer = post_parts({f"{name}.parquet": encode(TABLE.slice(at, 3)) for name, at in (("a", 0), ("b", 2))})
    assert (answer.status_code, answer.json()["register"]) == (202, {"dataset": "wti-daily"})
    job = Job.objects.get()
    assert sorted(job.inputs.values_list("slot", flat=True)) == ["table/a.parquet", "table/b.parquet"]
    assert not DatasetVersion.objects.exists()


def test_a_request_that_waits_has_all_parts_checked(inline_engine, held, project, actor_for, engineer, dataset):
    set_expectations(
        actor=actor_for(engineer), dataset=dataset, expectations=[{"kind": "range", "column": "close", "maximum": 58}]
    )
    rows = [("a.parquet", held(encode(TABLE.slice(0, 2))), PARQUET), ("b.parquet", held(encode(TABLE)), PARQUET)]
    with pytest.raises(Invalid) as caught:
        check_expectations(actor_for(engineer), project, "wti-daily", rows)
    assert "2 of 5 rows break it. The first: row 5: 58.1; row 7: 60.0." in str(caught.value.errors[0]["message"])
    set_expectations(
        actor=actor_for(engineer), dataset=dataset, expectations=[{"kind": "range", "column": "close", "maximum": 60}]
    )
    assert check_expectations(actor_for(engineer), project, "wti-daily", rows).is_of(rows)


def test_several_files_in_the_browser(client, engineer, project):
    client.force_login(engineer)
    files = [SimpleUploadedFile(f"{name}.parquet", encode(TABLE.slice(at, 2))) for name, at in (("b", 2), ("a", 0))]
    answer = client.post("/p/demo/upload", {"dataset": "wti-daily", "file": files, "measure": "true"})
    assert (answer.status_code, answer.url) == (302, "/p/demo/data/wti-daily/1")
    made = DatasetVersion.objects.get()
    assert (made.parts, made.rows, Job.objects.get().kind) == (2, 4, "profile")
    page = client.get("/p/demo/data/wti-daily/1/files").content.decode()
    assert "one table of 4 rows in 2 parts" in page
    form = client.get(f"/p/demo/jobs/new/clean?version={made.pk}").content.decode()
    assert re.search(rf'value="{made.digest}"\s+selected', form)
    files = [
        SimpleUploadedFile(f"{n}.parquet", encode(TABLE.slice(0, 2).select(TABLE.column_names[n:]))) for n in (0, 1)
    ]
    answer = client.post("/p/demo/upload", {"dataset": "wti-daily", "file": files})
    assert re.search(r'id="ffile-e">.*?The part 1.parquet has the column', answer.content.decode(), re.S)
    files = [SimpleUploadedFile("a.parquet", encode(TABLE)), SimpleUploadedFile("c.csv", b"a\n1\n")]
    answer = client.post("/p/demo/upload", {"dataset": "wti-daily", "file": files})
    assert (answer.status_code, "c.csv is no Parquet file" in answer.content.decode()) == (422, True)


def test_a_folder_is_ingested_as_one_table_if_it_is_one(tmp_path, worker_actor, project):
    for name, start in (("a", 0), ("b", 3)):
        (tmp_path / f"{name}.parquet").write_bytes(encode(TABLE.slice(start, 2)))
    result = ingest(actor=worker_actor, project=project, dataset_name="folder", path=tmp_path)
    assert (result.version.parts, result.version.rows) == (2, 4)
    (tmp_path / "c.parquet").write_bytes(encode(TABLE.select(["day"])))
    result = ingest(actor=worker_actor, project=project, dataset_name="folder", path=tmp_path)
    assert (result.version.number, result.version.parts) == (2, 0)
    assert "The part c.parquet has the column 'close' as missing" in result.not_parts


def test_a_comparison_takes_every_part(version, held, added, project, actor_for, engineer):
    single = added({"table.parquet": held(encode(TABLE))})[0]
    job = submit_diff(actor=actor_for(engineer), project=project, before=version, after=single, keys=["day"])
    assert sorted(job.inputs.values_list("slot", flat=True)) == [
        "after", *(f"before/day/{name}.parquet" for name in "abc")
    ]  # fmt: skip
    assert find_latest_diff(actor_for(engineer), version, single).job == job
    assert find_latest_diff(actor_for(engineer), single, version) is None


def test_what_reads_one_file_refuses_a_table_of_parts(version, actor_for, engineer):
    with pytest.raises(Invalid) as caught:
        get_single_table(actor_for(engineer), version)
    assert (caught.value.code, str(caught.value)) == (
        "table_of_parts",
        "wti-daily v1 is a table of 3 parts, and one file is taken here.",
    )
