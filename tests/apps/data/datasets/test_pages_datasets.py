import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.services import create_dataset, set_quality

TABS = ("", "/preview", "/distributions", "/quality", "/compare", "/files", "/lineage", "/audit")
GOOD = b"day,close\n2026-01-02,57.3\n2026-01-03,\n"


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, url) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def form(data=GOOD, **more):
    return {"dataset": "wti", "delimiter": ",", "encoding": "utf-8", "file": SimpleUploadedFile("t.csv", data)} | more


def test_an_upload_becomes_a_version(engineer, web):
    answer = web(engineer).post("/p/demo/upload", form(note="first"))
    assert answer.url == "/p/demo/data/wti/1"
    version = DatasetVersion.objects.get()
    assert (version.rows, version.note, version.created_by) == (2, "first", "engineer")


def test_how_it_is_read_is_found_and_told(engineer, web):
    data = form("名;值\n甲;1\n".encode("gb18030"), delimiter="auto", encoding="auto")
    text = text_of(web(engineer).post("/p/demo/upload", data, follow=True))
    assert "(GB18030, semicolon-separated)." in text
    assert DatasetVersion.objects.get().media_type == "text/csv; charset=gb18030; delimiter=%3B"


def test_the_form_leaves_it_to_be_found_unless_one_chooses(engineer, web):
    text = text_of(web(engineer).get("/p/demo/upload"))
    assert text.count('<option value="auto"') == 2
    assert text.index('<option value="auto"') < text.index('<option value=","')


def test_the_same_bytes_make_no_second_version(engineer, web):
    client = web(engineer)
    client.post("/p/demo/upload", form())
    assert "already" in text_of(client.post("/p/demo/upload", form(), follow=True))
    assert DatasetVersion.objects.count() == 1


WRONG_FIELDS = [
    ({"dataset": "Not A Name"}, "fdataset-e"),
    ({"data": b"a,b\n1,2,3\n"}, "ffile-e"),
    ({"data": b""}, "ffile-e"),
    ({"encoding": "latin-1"}, "fencoding-e"),
    ({"delimiter": "ab"}, "fdelimiter-e"),
    ({"data": b"a;b,c\n1;2,3\n", "delimiter": "auto"}, "fdelimiter-e"),
    ({"note": "x" * 501}, "fnote-e"),
]


def test_errors_are_shown_at_their_fields(engineer, web):
    client, missing = web(engineer), {}
    for wrong, field in WRONG_FIELDS:
        answer = client.post("/p/demo/upload", form(**wrong))
        tag = re.search(rf'<[^>]*id="{field}"[^>]*>', text_of(answer))
        if answer.status_code != 422 or not tag or "hidden" in tag[0]:
            missing[repr(wrong)] = (answer.status_code, tag and tag[0])
    assert missing == {}
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 404), ("sysadmin", 403)])
def test_only_an_engineer_uploads(who, status, request, web, project):
    client = web(request.getfixturevalue(who))
    assert client.post("/p/demo/upload", form()).status_code == status
    assert client.post("/p/demo/datasets", {"dataset": "x"}).status_code == status
    assert not Dataset.objects.exists()


def test_an_empty_dataset(engineer, web):
    client = web(engineer)
    assert client.post("/p/demo/datasets", {"dataset": "wti", "description": "d"}).url == "/p/demo/data/wti"
    assert client.post("/p/demo/datasets", {"dataset": "wti"}).status_code == 422


def test_the_list_costs_the_same_for_five_and_fifty(engineer, web, worker_actor, project):
    client = web(engineer)
    for n in range(5):
        create_dataset(actor=worker_actor, project=project, name=f"d{n}")
    few = queries_of(client, "/p/demo/data")
    for n in range(5, 12):
        create_dataset(actor=worker_actor, project=project, name=f"d{n}")
    assert queries_of(client, "/p/demo/data") == few < 20


def test_versions_page_query_count_does_not_grow(engineer, web, added, held):
    client = web(engineer)
    for n in range(5):
        added({"t.parquet": held(b"%d" % n)})
    few = queries_of(client, "/p/demo/data/wti-daily")
    for n in range(5, 12):
        added({"t.parquet": held(b"%d" % n)})
    assert queries_of(client, "/p/demo/data/wti-daily") == few < 20


def test_tabs_of_a_version(engineer, web, added, held, job):
    artifact = held()
    added({"t.csv": artifact}, media_type="text/csv")
    job(table=artifact)
    client = web(engineer)
    counts = {tab: queries_of(client, f"/p/demo/data/wti-daily/1{tab}") for tab in TABS}
    assert {tab: count for tab, count in counts.items() if count >= 20} == {}


def test_a_report_is_shown_and_its_share_in_the_list(engineer, web, added, held, report, worker_actor):
    version, _ = added({"t.csv": held()}, media_type="text/csv")
    columns = [{"name": "close", "dtype": "double", "missing": 1, "missing_share": 0.25}]
    measured = held(report(rows=4, columns=columns), media_type="application/json")
    set_quality(actor=worker_actor, version=version, artifact=measured)
    client = web(engineer)
    assert "<b>1 value missing</b> (25 %)" in text_of(client.get("/p/demo/data/wti-daily/1"))
    for _twice in range(2):  # read, then from the cache
        assert "25 %" in text_of(client.get("/p/demo/data"))


def test_cells_are_escaped(engineer, web, added, held):
    added({"t.csv": held(b"a\n<script>alert(1)</script>\n")}, media_type="text/csv")
    text = text_of(web(engineer).get("/p/demo/data/wti-daily/1/preview"))
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_a_version_by_its_key_leads_to_its_address(engineer, stranger, web, added, held):
    version, _ = added({"t.csv": held()}, media_type="text/csv")
    assert web(engineer).get(f"/p/demo/versions/{version.pk}").url == "/p/demo/data/wti-daily/1"
    assert web(stranger).get(f"/p/other/versions/{version.pk}").status_code == 404


@pytest.mark.parametrize("which", ["9", "f" * 64])
def test_a_version_that_is_not_there(which, engineer, web, dataset):
    assert web(engineer).get(f"/p/demo/data/wti-daily/{which}").status_code == 404


def test_a_viewer_reads_and_has_no_button(viewer, web, added, held):
    added({"t.csv": held()}, media_type="text/csv")
    text = text_of(web(viewer).get("/p/demo/data/wti-daily/1"))
    assert "jobs/new" not in text
    assert "/p/demo/upload" not in text_of(web(viewer).get("/p/demo/data"))


@pytest.mark.parametrize(
    ("data", "field"), [({"dataset": "Not A Name"}, "fdataset-e"), ({"dataset": "wti", "note": "n" * 501}, "fnote-e")]
)
def test_fields_of_an_upload_are_checked_before_the_file_is_sent(engineer, web, data, field):
    answer = web(engineer).post("/p/demo/upload", {**data, "op": "check"}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert f'id="{field}" aria-live="polite">' in answer.content.decode()
    assert not DatasetVersion.objects.exists()


def test_a_blank_upload_is_not_blamed_before_it_is_sent(engineer, web):
    text = web(engineer).post("/p/demo/upload", {"dataset": "", "op": "check"}).content.decode()
    assert 'id="fdataset-e" aria-live="polite" hidden>' in text
