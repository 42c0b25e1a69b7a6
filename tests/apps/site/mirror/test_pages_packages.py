"""The pages and the REST calls of packages."""

from __future__ import annotations

import html
import json

import pytest

from apps.site.mirror import queries, services
from apps.site.mirror.models import PackageVersion
from tests.package_files import build_wheel, hash_file


@pytest.fixture
def packages(publish, upload, operator, engineer, tmp_path, tmp_path_factory):
    """lib 1.0 and 2.0 of the plane, the first with an advisory; acme of the project, which needs lib."""
    build_wheel(tmp_path, "lib", "1.0")
    build_wheel(tmp_path, "lib", "2.0")
    publish(tmp_path)
    own = build_wheel(tmp_path_factory.mktemp("own"), "acme", "1.0", ["lib>=1"])
    assert upload(own, engineer).status_code == 200
    path = tmp_path / "feed.json"
    package = {"ecosystem": "PyPI", "name": "lib"}
    affected = [{"package": package, "versions": ["1.0"]}]
    path.write_text(json.dumps({"id": "PYSEC-7", "modified": "2026-10-01T00:00:00Z", "affected": affected}))
    services.import_advisories(actor=operator, path=path)
    return own


def read(answer) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


def test_the_list_is_searched_and_filtered(packages, web, viewer):
    client = web(viewer)
    names = {
        query: [package.name for package in client.get(f"/packages{query}").context["rows"]]
        for query in ("", "?q=LI", "?owner=projects", "?advisories=any", "?sort=-changed&owner=plane")
    }
    assert names == {
        "": ["acme", "lib"],
        "?q=LI": ["lib"],
        "?owner=projects": ["acme"],
        "?advisories=any": [],
        "?sort=-changed&owner=plane": ["lib"],
    }
    assert client.get("/packages?advisories=some").status_code == 422
    assert b"lib" in b"".join(client.get("/packages?format=csv").streaming_content)


def test_a_package_shows_files_advisories_and_uses(packages, web, engineer):
    page = read(web(engineer).get("/packages/LIB"))
    assert "PYSEC-7" in page
    assert "lib-1.0-py3-none-any.whl" in page
    assert '<a href="/packages/acme">acme</a>' in page
    assert hash_file(packages) in read(web(engineer).get("/packages/acme"))
    assert web(engineer).get("/packages/absent").status_code == 404


def test_older_versions_are_shown_on_request(packages, web, engineer, monkeypatch):
    monkeypatch.setattr(queries, "MAX_VERSIONS", 1)
    client = web(engineer)
    first, every = read(client.get("/packages/lib")), read(client.get("/packages/lib?versions=all"))
    assert ("lib-1.0-py3" in first, "The newest 1 of 2." in first, "Show all</a>" in first) == (False, True, True)
    assert ("lib-1.0-py3" in every, "The newest" in every, "Show all" in every) == (True, False, False)
    monkeypatch.setattr(queries, "MAX_ALL_VERSIONS", 1)
    most = read(client.get("/packages/lib?versions=all"))
    assert ("lib-1.0-py3" in most, "The newest 1 of 2." in most, 'href="?versions=all"' in most) == (False, True, False)


def test_a_version_is_yanked_on_the_page(packages, web, engineer, viewer):
    client = web(engineer)
    assert "Yank this version?" in read(client.get("/packages/acme"))
    assert "Yank this version?" not in read(client.get("/packages/lib"))
    assert web(viewer).post("/packages/acme/1.0/yank", {"reason": "x"}).status_code == 403
    assert client.post("/packages/acme/1.0/yank", {"reason": "deletes files"}).url == "/packages/acme"
    assert "deletes files (engineer)" in read(client.get("/packages/acme"))
    client.post("/packages/acme/1.0/unyank")
    assert not PackageVersion.objects.exclude(yanked_at=None).exists()


def test_the_api(packages, api, engineer, viewer):
    client = api(engineer)
    assert [item["name"] for item in client.get("/api/v1/packages").json()["items"]] == ["acme", "lib"]
    lib = client.get("/api/v1/packages/lib").json()
    assert [version["version"] for version in lib["versions"]] == ["2.0", "1.0"]
    assert [advisory["id"] for advisory in lib["versions"][1]["advisories"]] == ["PYSEC-7"]
    assert (lib["dependents"], lib["advisories_dated_at"]) == (["acme"], "2026-10-01T00:00:00Z")
    place = "/api/v1/packages/acme/1.0"
    assert api(viewer).post(f"{place}/yank", {"reason": "x"}).status_code == 403
    assert client.post(f"{place}/yank", {}).status_code == 422
    yanked = client.post(f"{place}/yank", {"reason": "deletes files"}).json()
    assert yanked["versions"][0]["yank_reason"] == "deletes files"
    assert client.post(f"{place}/yank", {"reason": "again"}).json()["error"]["code"] == "package_yanked"
    assert client.post(f"{place}/unyank").json()["versions"][0]["yanked_at"] is None
    assert client.post("/api/v1/packages/lib/1.0/yank", {"reason": "x"}).status_code == 403
