"""A version is named by its number, its digest, and its commit; a dataset says where it is cloned from."""

from __future__ import annotations

import pytest

from apps.data.repositories.models import Commit

pytestmark = pytest.mark.django_db
AT = "/api/v1/projects/demo/datasets/wti"


def test_rest_finds_a_version_by_its_commit(api, viewer, added):
    added({"table.csv": b"a\n1\n"})
    version = added({"table.csv": b"a\n2\n"})
    sha = Commit.objects.get(version=version).sha
    found = api(viewer).get(f"{AT}/versions/{sha}").json()
    assert (found["number"], found["commit"]) == (2, sha)
    assert api(viewer).get(f"{AT}/versions").json()["items"][0]["commit"] == sha
    assert api(viewer).get(f"{AT}/versions/{'0' * 40}").status_code == 404
    assert api(viewer).get(f"{AT}/versions/{'0' * 39}").status_code == 422


def test_a_second_commit_of_the_same_files_names_it_too(api, viewer, dataset, added):
    version = added({"table.csv": b"a\n1\n"})
    first = version.commit
    Commit.objects.create(
        dataset=dataset, position=2, sha="ab" * 20, version=version, author="x", authored_at=version.created_at
    )
    found = api(viewer).get(f"{AT}/versions/{'ab' * 20}").json()
    assert (found["number"], found["commit"]) == (1, first)


def test_where_it_is_cloned_from(api, viewer, dataset):
    assert api(viewer).get(AT).json()["clone_url"] == "http://testserver/git/demo/wti.git"
    (row,) = api(viewer).get("/api/v1/projects/demo/datasets").json()["items"]
    assert row["clone_url"] == "http://testserver/git/demo/wti.git"


def test_the_pages_say_so(web, viewer, added):
    version = added({"table.csv": b"a\n1\n"})
    assert b"git clone http://testserver/git/demo/wti.git" in web(viewer).get("/p/demo/data/wti").content
    page = web(viewer).get(f"/p/demo/data/wti/{version.commit}")
    assert page.status_code == 200
    assert version.commit.encode() in page.content


def test_the_other_project_finds_nothing(api, stranger, added):
    version = added({"table.csv": b"a\n1\n"})
    assert api(stranger).get(f"{AT}/versions/{version.commit}").status_code == 404
