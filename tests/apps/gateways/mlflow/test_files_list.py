"""The names in a folder: mlflow-artifacts/artifacts?path=, artifacts/list, logged-models/{m}/artifacts/directories."""

from __future__ import annotations

import pytest

from apps.ml.experiments.files import tree
from tests.apps.gateways.mlflow.conftest import FILES

pytestmark = pytest.mark.services

ROOT = FILES.rstrip("/")


@pytest.fixture
def many(track, place):
    for path in ("note.txt", "sub/dir/table.json", "sub/A.txt", "sub/a.txt", "sub%25/x", "empty"):
        track.put(f"{place}/{path}", b"" if path == "empty" else path.encode())


def names(answer):
    return [(one["path"], one["is_dir"], one.get("file_size")) for one in answer.get("files", [])]


def test_a_folder_by_its_bare_names(track, place, many):
    assert names(track.get(ROOT, path=place)) == [
        ("empty", False, None),
        ("note.txt", False, 8),
        ("sub", True, None),
        ("sub%", True, None),
    ]
    assert names(track.get(ROOT, path=f"{place}/sub")) == [
        ("A.txt", False, 9),
        ("a.txt", False, 9),
        ("dir", True, None),
    ]


@pytest.mark.parametrize("path", ["nothing", "note.txt", "Sub", "su"])
def test_what_is_no_folder_is_empty(track, place, many, path):
    assert track.get(ROOT, path=f"{place}/{path}") == {}


def test_a_name_with_percent_is_asked_for_as_the_client_knows_it(track, place, run):
    """It sends the name d%20d in an address, where that is `d d`, and asks for it by a query."""
    assert track.put(f"{place}/d%20d/50%25.txt", b"x").status_code == 200
    for folder in ("d d", "d%20d"):
        assert track.get(FILES.rstrip("/"), path=f"{place}/{folder}")["files"][0]["path"] == "50%.txt"
        assert track.get("artifacts/list", run_id=run.pk, path=folder)["files"][0]["path"] == "d d/50%.txt"
        link = "/get-artifact"
        assert track.send("GET", link, {"run_id": run.pk, "path": f"{folder}/50%.txt"}).getvalue() == b"x"
    track.put(f"{place}/d%2520d/literal.txt", b"y")
    assert track.get(FILES.rstrip("/"), path=f"{place}/d%20d")["files"][0]["path"] == "literal.txt"
    assert track.send("DELETE", f"{FILES}{place}/d%2520d/literal.txt").status_code == 200
    assert track.get(FILES.rstrip("/"), path=f"{place}/d%20d")["files"][0]["path"] == "50%.txt"


@pytest.mark.parametrize("path", ["../..", "/etc", "%2e%2e", "a#b"])
def test_a_path_that_leads_away_is_refused(track, path):
    assert track.refused("GET", ROOT, {"path": path})[::2] == (400, "Invalid path")


def test_another_project_sees_nothing(client_of, stranger, place, many):
    assert client_of(stranger).get(ROOT, path=place) == {}


def test_of_a_run_by_paths_from_its_root(track, run, many):
    told = track.get("artifacts/list", run_id=run.pk, path="sub")
    assert told["root_uri"] == f"mlflow-artifacts:/3/{run.pk}/artifacts"
    assert [one["path"] for one in told["files"]] == ["sub/A.txt", "sub/a.txt", "sub/dir"]
    assert track.get("artifacts/list", run_uuid=run.pk, path="nothing") == {"root_uri": told["root_uri"]}
    assert track.refused("GET", "artifacts/list", {"run_id": "0" * 32})[0] == 404
    assert track.refused("GET", "artifacts/list")[0] == 400


def test_a_long_folder_goes_on(track, run, many, monkeypatch):
    monkeypatch.setattr(tree, "FOLDER_PAGE", 3)
    first = track.get("artifacts/list", run_id=run.pk)
    second = track.get("artifacts/list", run_id=run.pk, page_token=first["next_page_token"])
    assert [one["path"] for one in first["files"] + second["files"]] == ["empty", "note.txt", "sub", "sub%"]
    assert "next_page_token" not in second
    assert track.refused("GET", "artifacts/list", {"run_id": run.pk, "page_token": "%"})[0] == 400


def test_of_a_logged_model(track, logged):
    model = logged()
    told = track.get(f"logged-models/{model}/artifacts/directories", artifact_directory_path="data")
    assert [one["path"] for one in told["files"]] == ["data/weights.bin"]
    assert track.refused("GET", f"logged-models/{model}/artifacts/directories?artifact_directory_path=..")[0] == 400


def test_one_query_however_many(track, place, many, django_assert_num_queries):
    for number in range(10):
        track.put(f"{place}/sub/more/{number}", b"x")
    with django_assert_num_queries(3):  # the token, the run, the names
        track.get(ROOT, path=f"{place}/sub")
