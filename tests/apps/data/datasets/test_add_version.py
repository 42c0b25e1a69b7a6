import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Invalid, NotFound, Refused
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_the_manifest_names_the_version(added, held, dataset):
    b, a = held(b"bb"), held(b"a")
    version, created = added({"b.parquet": b, "a/a.parquet": a})
    assert created
    manifest = json.loads(version.manifest)
    assert manifest["schema"] == "plane/dataset-manifest/v1"
    assert [(f["path"], f["sha256"], f["size"]) for f in manifest["files"]] == [
        ("a/a.parquet", a.digest, 1),
        ("b.parquet", b.digest, 2),
    ]
    assert version.digest == sha256_hex(version.manifest)
    assert (version.number, version.size, dataset.versions_count) == (1, 3, 1)
    assert version.digest in AuditRecord.objects.get(action="dataset.add_version").body


def test_the_manifest_is_canonical_whatever_the_names(added, held):
    version, _ = added({'quote"d, {odd}': held(b"q"), "资料/三.csv": held(b"c"), "plain/a.txt": held(b"")})
    assert version.manifest == encode_canonical_json(json.loads(version.manifest))


def test_the_order_of_files_does_not_matter_and_the_same_is_found(added, held):
    a, b = held(b"a"), held(b"b")
    first, _ = added({"a": a, "b": b})
    again, created = added({"b": b, "a": a}, note="other words")
    assert not created
    assert (again.pk, again.note) == (first.pk, "")
    assert Dataset.objects.get().versions_count == 1
    assert AuditRecord.objects.filter(action="dataset.add_version").count() == 1


@pytest.mark.parametrize("change", [{"path": "b"}, {"data": b"z"}, {"media_type": "text/plain"}])
def test_any_change_is_the_next_version(added, held, change):
    added({"a": held(b"a")})
    files = {change.get("path", "a"): held(change.get("data", b"a"))}
    version, created = added(files, media_type=change.get("media_type", "application/vnd.apache.parquet"))
    assert (created, version.number) == (True, 2)


WRONG_PATHS = [
    "",
    "/etc/passwd",
    "../a",
    "a/../b",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "a\0",
    "a\nb",
    "a\u202eb",
    "e\u0301",
    "x" * 256,
]


def test_wrong_paths_are_refused(added, held):
    artifact, errors = held(), {}
    for path in WRONG_PATHS:
        with pytest.raises(Invalid) as caught:
            added({path: artifact})
        errors[path] = (caught.value.code, caught.value.field)
    assert errors == dict.fromkeys(WRONG_PATHS, ("bad_path", "/files/0/path"))
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize("path", ["a", "资料/表 1.csv", "a.b/..c", "x" * 255])
def test_takes_a_path(added, held, path):
    added({path: held()})
    assert DatasetFile.objects.get().path == path


def test_a_file_is_no_folder(added, held):
    with pytest.raises(Invalid, match="folder"):
        added({"a": held(), "a/b": held()})


@pytest.mark.parametrize("media_type", ["", "csv", "text/csv\n", "text/" + "x" * 120])
def test_refuses_a_media_type(added, held, media_type):
    with pytest.raises(Invalid) as caught:
        added({"a": held()}, media_type=media_type)
    assert caught.value.field == "/files/0/media_type"


@pytest.mark.parametrize(
    ("parameter", "code"),
    [("charset=zlib", "bad_encoding"), ("charset=bogus", "bad_encoding"), ("delimiter=%0A", "bad_delimiter")],
)
def test_refuses_a_csv_that_nobody_can_read(added, held, parameter, code):
    with pytest.raises(Invalid) as caught:
        added({"a.csv": held(b"x")}, media_type=f"text/csv; {parameter}")
    assert caught.value.code == code


def test_needs_a_file(added):
    with pytest.raises(Invalid) as caught:
        added({})
    assert caught.value.field == "files"


def test_bytes_that_another_project_holds_do_not_exist(added, held, other_project):
    with pytest.raises(Invalid) as caught:
        added({"a": held(b"secret", other_project)})
    assert caught.value.code == "artifact_unknown"


@pytest.mark.parametrize(("who", "error"), [("viewer", Refused), ("stranger", NotFound)])
def test_takes_an_engineer_of_the_project(request, actor_for, added, held, who, error):
    with pytest.raises(error):
        added({"a": held()}, actor=actor_for(request.getfixturevalue(who)))
    assert not DatasetVersion.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gap_when_many_add_at_once(added, held, dataset):
    artifacts = [held(b"%d" % n) for n in range(12)]

    def add(artifact):
        try:
            return added({"a": artifact})[0].number
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(add, [*artifacts, *artifacts]))
    assert sorted(numbers) == sorted([*range(1, 13), *range(1, 13)])
    assert Dataset.objects.get().versions_count == DatasetVersion.objects.count() == 12
