import json
from datetime import UTC, datetime

import pytest

from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.services import set_quality
from apps.data.datasets.versions.manifest import PARQUET
from apps.platform.artifacts.models import Holding

pytestmark = [pytest.mark.django_db, pytest.mark.services]
DATASET = "/api/v1/projects/demo/datasets/wti-daily"
URL = f"{DATASET}/versions"
CSV = b"day,close\n2026-01-02,57.3\n2026-01-03,\n2026-01-04,58.1\n"


@pytest.fixture
def post_csv(api, engineer, project):
    """post_csv(bytes, query) -> the answer to a CSV body."""
    client = api(engineer)
    return lambda data=CSV, query="": client.post(f"{URL}{query}", data, content_type="text/csv")


def test_a_csv_body_is_a_version(post_csv, engineer):
    answer = post_csv(query="?note=first")
    shown = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{URL}/1")
    assert (shown["dataset"], shown["number"], shown["rows"], shown["note"]) == ("wti-daily", 1, 3, "first")
    assert [(f["path"], f["size"]) for f in shown["files"]] == [("table.csv", len(CSV))]
    assert Holding.objects.get().name == "wti-daily.csv"


def test_a_token_that_only_writes_is_told_what_it_made(api, engineer, make_token):
    client = api(make_token(engineer, scopes=["data:write"])[0])
    assert client.post("/api/v1/projects/demo/datasets", {"name": "empty"}).status_code == 201
    assert client.post(URL, CSV, content_type="text/csv").json()["number"] == 1
    assert client.get(URL).status_code == 403


def test_days_narrow_them(api, viewer, added, held):
    old, _is_new = added({"a": held()})
    DatasetVersion.objects.filter(pk=old.pk).update(created_at=datetime(2026, 3, 2, 12, tzinfo=UTC))
    added({"b": held(b"other")})
    assert [item["number"] for item in api(viewer).get(URL, {"made_before": "2026-03-02"}).json()["items"]] == [1]
    assert [item["number"] for item in api(viewer).get(URL, {"made_after": "7d"}).json()["items"]] == [2]


def test_the_same_body_again_is_found(post_csv):
    assert [post_csv().status_code, post_csv().status_code] == [201, 200]
    assert DatasetVersion.objects.count() == 1


def test_the_query_says_how_to_read(post_csv):
    answer = post_csv("名;值\n甲;1\n".encode("gb18030"), "?delimiter=%3B&encoding=gb18030")
    assert [column["name"] for column in answer.json()["columns"]] == ["名", "值"]


@pytest.mark.parametrize("query", ["", "?delimiter=auto&encoding=auto", "?delimiter=%3B", "?encoding=gb18030"])
def test_what_the_query_does_not_say_is_found_and_recorded(post_csv, query):
    shown = post_csv("名;值\n甲;1\n".encode("gb18030"), query).json()
    assert shown["params"] == {"delimiter": ";", "encoding": "gb18030"}
    assert shown["media_type"] == "text/csv; charset=gb18030; delimiter=%3B"


def test_by_its_digest_too(api, engineer, held):
    shown = api(engineer).post(URL, {"artifact": held(b"date;price\n2024-01-01;3.5\n").digest}).json()
    assert [column["name"] for column in shown["columns"]] == ["date", "price"]


def test_an_explicit_choice_wins(post_csv):
    shown = post_csv(b"date;price\n2024-01-01;3.5\n", "?delimiter=,").json()
    assert [column["name"] for column in shown["columns"]] == ["date;price"]


WRONG_FILES = [
    (b"\n", "", "csv_empty", "file"),
    (b"a,b\n", "", "csv_no_rows", "file"),
    (b"a,b\n1\n", "", "csv_broken_row", "file"),
    (CSV, "?delimiter=a", "bad_delimiter", "delimiter"),
    (CSV, "?delimiter=ab", "bad_delimiter", "delimiter"),
    (b"a;b,c\n1;2,3\n", "", "csv_delimiter_unknown", "delimiter"),
    (b"a\n\xff\n", "", "csv_encoding_unknown", "file"),
    (CSV, "?encoding=latin-1", "invalid_choice", "/encoding"),
    (CSV, "?dleimiter=%3B", "unknown_field", "/dleimiter"),
]


def test_wrong_files_are_refused(post_csv):
    wrong = {}
    for data, query, code, field in WRONG_FILES:
        answer = post_csv(data, query)
        error = answer.json()["error"]
        if (answer.status_code, error["code"], error["field"]) != (422, code, field):
            wrong[data, query] = answer.json()
    assert wrong == {}
    assert not Dataset.objects.exists()


@pytest.mark.parametrize(("length", "status", "code"), [("0", 422, "empty_body"), ("", 411, "length_required")])
def test_an_empty_body_is_named(api, engineer, project, length, status, code):
    answer = api(engineer).post(URL, b"", content_type="text/csv", CONTENT_LENGTH=length)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_form_is_refused(api, engineer, project):
    answer = api(engineer).post(URL, {"file": "x"}, format="multipart")
    assert answer.status_code == 415


def test_a_table_by_its_digest(api, engineer, held):
    csv = api(engineer).post(URL, {"artifact": held().digest})
    assert (csv.status_code, csv.json()["rows"]) == (201, 3)
    parquet = api(engineer).post(URL, {"artifact": held(b"PAR1", media_type=PARQUET).digest})
    assert (parquet.json()["media_type"], parquet.json()["rows"]) == (PARQUET, None)


def test_files_by_their_digests(api, engineer, held):
    files = [
        {"path": "img/1.png", "digest": held(b"1").digest, "media_type": "image/png"},
        {"path": "labels.csv", "digest": held().digest},
    ]
    shown = api(engineer).post(URL, {"files": files, "note": "images"}).json()
    assert [(f["path"], f["media_type"]) for f in shown["files"]] == [
        ("img/1.png", "image/png"),
        ("labels.csv", "text/csv"),
    ]
    assert shown["media_type"] == "text/csv"


WRONG_BODIES = [
    ({}, 422, "artifact_or_files"),
    ({"artifact": "0" * 64, "files": [{"path": "a", "digest": "HELD"}]}, 422, "artifact_or_files"),
    ({"artifact": "abc"}, 422, "invalid"),
    ({"artifact": "0" * 64}, 404, "not_found"),
    ({"files": []}, 422, "min_length"),
    ({"files": [{"path": "a", "digest": "0" * 64}]}, 422, "artifact_unknown"),
    ({"files": [{"path": "../a", "digest": "HELD"}]}, 422, "bad_path"),
    ({"files": [{"path": "a"}]}, 422, "required"),
]


def test_wrong_bodies_are_refused(api, engineer, held):
    client, digest, wrong = api(engineer), held().digest, {}
    for body, status, code in WRONG_BODIES:
        answer = client.post(URL, json.loads(json.dumps(body).replace("HELD", digest)), format="json")
        if (answer.status_code, answer.json()["error"]["code"]) != (status, code):
            wrong[repr(body)] = answer.json()
    assert wrong == {}
    assert not Dataset.objects.exists()


def test_bytes_of_another_project_are_not_there(api, engineer, held, other_project):
    secret = held(b"secret", other_project)
    answers = [
        api(engineer).post(URL, {"artifact": secret.digest}),
        api(engineer).post(URL, {"files": [{"path": "a", "digest": secret.digest}]}),
    ]
    assert [answer.status_code for answer in answers] == [404, 422]


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 404)])
def test_takes_an_engineer_of_the_project(request, api, project, who, status):
    client = api(request.getfixturevalue(who))
    assert client.post(URL, CSV, content_type="text/csv").status_code == status
    assert not Holding.objects.exists()


def test_list_query_count(api, viewer, added, held, django_assert_num_queries):
    client = api(viewer)
    client.get(URL)  # notes the token's use
    for count in (3, 9):
        while (n := DatasetVersion.objects.count()) < count:
            added({"a": held(b"%d" % n)})
        with django_assert_num_queries(5):
            items = client.get(URL, {"limit": 100}).json()["items"]
        assert [item["number"] for item in items] == list(range(count, 0, -1))


@pytest.mark.parametrize("count", [2, 9])
def test_version_query_count(api, viewer, added, held, count, django_assert_num_queries):
    added({f"f-{n:02}": held(b"%d" % n) for n in range(count)})
    client = api(viewer)
    client.get(f"{URL}/1")
    with django_assert_num_queries(6):
        assert len(client.get(f"{URL}/1").json()["files"]) == count


def test_pages_of_versions(api, viewer, added, held):
    for n in range(5):
        added({"a": held(b"%d" % n)})
    client = api(viewer)
    first = client.get(URL, {"limit": 3}).json()
    rest = client.get(URL, {"limit": 3, "cursor": first["next"]}).json()
    assert [item["number"] for item in first["items"] + rest["items"]] == [5, 4, 3, 2, 1]


def test_preview_and_quality(api, viewer, added, held, report, worker_actor):
    version, _ = added({"table.csv": held()}, media_type="text/csv")
    client = api(viewer)
    assert client.get(f"{URL}/1/preview", {"limit": 1}).json()["rows"] == [["2026-01-02", "57.3"]]
    assert client.get(f"{URL}/1/preview", {"limit": 0}).status_code == 422
    assert client.get(f"{URL}/1/quality").status_code == 204
    set_quality(actor=worker_actor, version=version, artifact=held(report()))
    assert client.get(f"{URL}/{version.digest}/quality").json()["rows"] == 3


def test_a_file_whole_and_in_part(api, viewer, added, held):
    artifact = held()
    added({"data/table.csv": artifact}, media_type="text/csv")
    whole = api(viewer).get(f"{URL}/1/files/data/table.csv")
    assert b"".join(whole.streaming_content) == CSV
    assert whole.headers["ETag"] == f'"sha256:{artifact.digest}"'
    assert (whole.headers["Content-Type"], "table.csv" in whole.headers["Content-Disposition"]) == ("text/csv", True)
    part = api(viewer).get(f"{URL}/1/files/data/table.csv", headers={"Range": "bytes=0-2"})
    assert (part.status_code, b"".join(part.streaming_content)) == (206, b"day")


def test_unknown_addresses(api, viewer, added, held):
    added({"data/a": held()})
    client, tails = api(viewer), ("2", "2/preview", "1/files/b", "1/files/data", "0" * 64)
    assert {tail: client.get(f"{URL}/{tail}").status_code for tail in tails} == dict.fromkeys(tails, 404)


def test_lost_bytes_are_named(api, viewer, added, held, monkeypatch):
    added({"table.csv": held()}, media_type="text/csv")

    def lost(self, digest, *span):
        raise FileNotFoundError(digest)

    monkeypatch.setattr("apps.platform.artifacts.local_store.LocalStore.open", lost)
    for tail in ("preview", "files/table.csv"):
        answer = api(viewer).get(f"{URL}/1/{tail}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "artifact_damaged")
