"""Tags, deletion and files of a version, from its page and over REST."""

from __future__ import annotations

import pytest

from apps.data.datasets.models import DatasetVersion, VersionTag

pytestmark = pytest.mark.django_db
PAGE, URL = "/p/demo/data/wti-daily/1", "/api/v1/projects/demo/datasets/wti-daily/versions/1"


@pytest.fixture(autouse=True)
def version(added, held):
    return added({f"{n:03}.parquet": held(b"%d" % n) for n in range(3)})[0]


def test_a_tag_from_the_page(engineer, web):
    client = web(engineer)
    assert client.post(f"{PAGE}/tag", {"name": "v1-approved"}).url == PAGE
    assert "v1-approved" in client.get(f"{PAGE.removesuffix('1')}v1-approved").content.decode()
    client.post(f"{PAGE}/tag", {"name": "7"})
    assert "cannot be a tag" in client.get(PAGE).content.decode()
    client.post(f"{PAGE}/tag", {"remove": "v1-approved"})
    assert not VersionTag.objects.exists()


def test_a_tag_over_rest(engineer, viewer, api):
    client = api(engineer)
    assert client.put(f"{URL}/tags/gold", {}, format="json").status_code == 201
    assert client.put(f"{URL}/tags/gold", {}, format="json").status_code == 200
    assert api(viewer).get(URL.removesuffix("1") + "gold").json()["tags"] == ["gold"]
    assert api(viewer).delete(f"{URL}/tags/gold").status_code == 403
    assert client.delete(f"{URL}/tags/gold").status_code == 204
    assert client.delete(f"{URL}/tags/gold").status_code == 404


def test_deleted_from_the_page(engineer, web):
    client = web(engineer)
    client.post(f"{PAGE}/tag", {"name": "gold"})
    assert client.post(f"{PAGE}/delete", {"reason": "wrong"}).url == PAGE
    assert "is cited by tag gold" in client.get(PAGE).content.decode()
    client.post(f"{PAGE}/tag", {"remove": "gold"})
    assert client.post(f"{PAGE}/delete", {"reason": "wrong"}).url == "/p/demo/data/wti-daily"
    assert client.get(PAGE).status_code == 410
    assert client.get("/p/demo/data/wti-daily").status_code == 200


def test_deleted_over_rest(engineer, viewer, api):
    client = api(engineer)
    assert client.delete(URL).status_code == 422
    assert api(viewer).delete(f"{URL}?reason=no").status_code == 403
    assert client.delete(f"{URL}?reason=wrong+file").status_code == 204
    assert client.get(URL).json()["error"]["code"] == "version_deleted"
    assert DatasetVersion.objects.get().delete_reason == "wrong file"


def test_files_a_page_at_a_time(viewer, api, web):
    first = api(viewer).get(f"{URL}/files", {"limit": 2}).json()
    rest = api(viewer).get(f"{URL}/files", {"limit": 2, "cursor": first["next"]}).json()
    assert [file["path"] for file in first["items"] + rest["items"]] == [f"{n:03}.parquet" for n in range(3)]
    assert api(viewer).get(URL).json()["files_count"] == 3


def test_the_page_of_many_files_reads_one_page(viewer, web, monkeypatch):
    monkeypatch.setattr("apps.data.datasets.version_tabs.FILES_PER_PAGE", 2)
    page = web(viewer).get(f"{PAGE}/files?page=2").content.decode()
    assert ("002.parquet" in page, "000.parquet</a>" in page, "page 2 of 2, 3 files" in page) == (True, False, True)
