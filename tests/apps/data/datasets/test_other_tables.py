"""Tables besides CSV: found by their types, offered, measured, compared and shown; uploaded through a job."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.core.errors import Invalid
from apps.data.datasets import queries
from apps.data.datasets.latest_tables import list_latest_tables
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.profile_jobs import measure_version, register_measurements
from apps.data.datasets.versions.manifest import (
    ARROW,
    CSV,
    JSON_LINES,
    OTHER_TABLE_TYPES,
    PARQUET,
    check_kind,
    detect_table_kind,
    guess_media_type,
)
from apps.data.datasets.versions.row_diff import submit_diff
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/versions"
LINES = b'{"day": 1, "close": 57.3}\n{"day": 2}\n'
BEGINNINGS = {PARQUET: b"PAR1 and more", JSON_LINES: LINES, ARROW: b"ARROW1\0\0 and more"}
FORMATS = {PARQUET: "parquet", JSON_LINES: "json", ARROW: "arrow"}
EVERY = pytest.mark.parametrize("kind", [PARQUET, JSON_LINES, ARROW, *OTHER_TABLE_TYPES])
SENT = pytest.mark.parametrize("kind", BEGINNINGS)


@pytest.fixture
def actor(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def version(kind, added, held):
    return added({"data.bin": held(b"of " + kind.encode())}, media_type=kind)[0]


@pytest.fixture
def end(worker_actor, held, report):
    """end(job, format) -> the versions that a job made or measured, which has read its table through."""

    def ended(job, kind):
        meta = {"rows": 2, "columns": [{"name": "close", "dtype": "double"}], "format": kind, "expectations_failed": 0}
        told = held(report(), media_type="application/json")
        outputs = [("quality", told, "quality.json", "application/json", meta)]
        return register_measurements(actor=worker_actor, job=job, outputs=outputs)

    return ended


@pytest.fixture
def send(api, engineer, project):
    """send(kind, bytes, query) -> the answer to a body of this media type."""
    client = api(engineer)
    return lambda kind, data, query="": client.generic("POST", f"{URL}{query}", data=data, content_type=kind)


@pytest.mark.parametrize(
    ("path", "kind"), [("a.jsonl", JSON_LINES), ("a.NDJSON", JSON_LINES), ("a.arrow", ARROW), ("a.csv", CSV)]
)
def test_a_name_suggests_its_type(path, kind):
    assert guess_media_type(path) == kind


HEADS = [
    *((data, kind) for kind, data in BEGINNINGS.items()),
    (b"\xef\xbb\xbf\n {\n", JSON_LINES),
    (b"{a},b\n1,2\n", CSV),
    (b"\x89PNG\0", CSV),
    (b"", CSV),
]


def test_media_type_of_the_first_bytes():
    assert [detect_table_kind(head) for head, _ in HEADS] == [kind for _, kind in HEADS]


@pytest.mark.parametrize(
    ("head", "kind"), [(b"<html>", PARQUET), (LINES, CSV), (b"PAR1", ARROW), (b"a,b\n", JSON_LINES)]
)
def test_what_begins_otherwise_is_refused(head, kind):
    with pytest.raises(Invalid) as caught:
        check_kind(head, kind)
    assert (caught.value.code, caught.value.field) == ("other_kind_of_table", "file")


@EVERY
def test_it_is_the_table_of_its_version_and_offered(actor, project, version):
    assert queries.find_table_file(actor, version) == version.files.get()
    assert [file.version for file in list_latest_tables(actor, project)] == [version]


@EVERY
def test_the_page_offers_to_measure_and_clean_it(engineer, web, version):
    text = web(engineer).get("/p/demo/data/wti-daily/1").content.decode()
    assert f"/p/demo/jobs/new?version={version.pk}" in text


@EVERY
def test_its_report_becomes_the_versions_and_shows_its_rows(actor, kind, version, end):
    assert "measured" in queries.read_preview(actor, version).note
    job, _ = measure_version(actor=actor, version=version)
    assert end(job, FORMATS.get(kind, "json" if "json" in kind else "arrow")) == [version]
    version.refresh_from_db()
    assert queries.read_preview(actor, version).rows[0] == ["2026-01-02", "57.3"]


@EVERY
def test_its_rows_are_compared(actor, project, kind, version, added, held):
    other, _ = added({"data.bin": held(b"other")}, media_type=kind)
    job = submit_diff(actor=actor, project=project, before=version, after=other, keys=["close"])
    assert job.inputs.count() == 2


@SENT
def test_a_body_is_a_version_once_a_job_has_read_it(send, end, kind):
    answer = send(kind, BEGINNINGS[kind], "?note=May")
    assert (answer.status_code, answer.json()["register"]) == (202, {"dataset": "wti-daily"})
    assert not DatasetVersion.objects.exists()
    (made,) = end(Job.objects.get(), FORMATS[kind])
    assert (made.media_type, made.rows, made.note, made.files.get().media_type) == (kind, 2, "May", kind)
    assert made.quality_id is not None
    again = send(kind, BEGINNINGS[kind])
    assert (again.status_code, again.json()["number"]) == (200, 1)


def test_json_lines_under_another_type_too(send, end):
    assert send("application/jsonl", LINES).status_code == 202
    assert end(Job.objects.get(), "json")[0].media_type == JSON_LINES


@pytest.mark.parametrize("kind", [*BEGINNINGS, CSV])
def test_a_body_of_something_else_is_refused(send, kind):
    answer = send(kind, b'{"a": 1}\n' if kind == CSV else b"<html>", "")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "other_kind_of_table")
    assert not Job.objects.exists()
    assert not Dataset.objects.exists()


def test_a_delimiter_says_nothing_of_json_lines(send):
    assert send(JSON_LINES, LINES, "?delimiter=%3B").json()["error"]["code"] == "unknown_field"


@SENT
def test_by_its_digest_it_is_taken_unread(api, engineer, held, kind):
    shown = api(engineer).post(URL, {"artifact": held(BEGINNINGS[kind], media_type=kind).digest}).json()
    assert (shown["media_type"], shown["rows"]) == (kind, None)
    answer = api(engineer).post(URL, {"artifact": held(b"<html>", media_type=kind).digest})
    assert answer.json()["error"]["code"] == "other_kind_of_table"


@pytest.mark.parametrize("name", ["table.bin", "table.csv"])
@SENT
def test_the_upload_form_takes_it(engineer, web, project, kind, name):
    data = {"dataset": "wti", "file": SimpleUploadedFile(name, BEGINNINGS[kind])}
    answer = web(engineer).post("/p/demo/upload", data)
    if name == "table.csv":  # named as what it is not
        assert (answer.status_code, Job.objects.count()) == (422, 0)
    else:
        job = Job.objects.get()
        assert answer.url == f"/p/demo/jobs/{job.pk}"
        assert (job.kind, job.register) == ("profile", {"dataset": "wti"})


def test_the_form_refuses_what_is_not_what_its_name_says(engineer, web, project):
    data = {"dataset": "wti", "file": SimpleUploadedFile("t.parquet", b"day,close\n1,2\n")}
    answer = web(engineer).post("/p/demo/upload", data)
    assert (answer.status_code, "does not begin as Parquet does" in answer.content.decode()) == (422, True)
    assert not DatasetVersion.objects.exists()


def test_a_manifest_keeps_the_types_that_it_was_made_with(added, held):
    version = added({"a.jsonl": held(LINES)}, media_type="application/octet-stream")[0]
    assert json.loads(version.manifest)["files"][0]["media_type"] == "application/octet-stream"
    assert added({"a.jsonl": held(LINES)}, media_type="application/octet-stream") == (version, False)
