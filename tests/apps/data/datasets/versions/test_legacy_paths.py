"""A path that was taken before names were checked: versions go on beside it, and no other such path comes in."""

from __future__ import annotations

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.ingest.local_files import ingest
from apps.data.datasets.versions import manifest
from apps.data.datasets.versions.deletion import delete_version

pytestmark = [pytest.mark.django_db, pytest.mark.services]
URL = "/api/v1/projects/demo/datasets/wti-daily/versions"
OLD = ("con.csv", "aux/table.csv", "cafe\u0301.csv")


@pytest.fixture
def old(added, held, monkeypatch):
    """A version that has such paths; its files by their paths."""
    files = {path: held(path.encode()) for path in OLD}
    with monkeypatch.context() as before:
        before.setattr(manifest, "check_path", lambda *_: None)
        files["version"] = added(files)[0]
    return files


@pytest.fixture
def post(api, engineer, held):
    def of(*paths):
        rows = [{"path": path, "digest": held(path.encode()).digest} for path in paths]
        return api(engineer).post(URL, {"files": rows})

    return of


def test_a_version_beside_it_is_accepted(old, post):
    answer = post(*OLD, "new.csv")
    assert (answer.status_code, answer.json()["number"]) == (201, 2)


@pytest.mark.parametrize("path", ["nul.csv", "aux/new.csv", "cafe\u0300.csv"])
def test_another_such_path_is_refused(old, post, path):
    answer = post(*OLD, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_path")
    assert path in answer.json()["error"]["message"]


def test_a_path_that_is_gone_comes_back_no_more(old, post):
    assert post("new.csv").status_code == 201
    assert post("con.csv", "new.csv").status_code == 422


def test_of_a_deleted_version_none_is_known(old, post, actor_for, engineer):
    delete_version(actor=actor_for(engineer), version=old["version"], reason="a test")
    assert post(*OLD, "new.csv").status_code == 422


def test_a_path_that_leaves_the_version_is_refused_in_any_case(added, held):
    for path in ("../con.csv", "/con.csv", "a//b", "x" * 256, ""):
        with pytest.raises(Invalid):
            manifest.check_path(path, "path", {path})


def test_a_folder_is_ingested_again(old, operator, project, tmp_path):
    for path in (*OLD, "new.csv"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x\n1\n")
    take = {"actor": operator, "project": project, "path": tmp_path}
    assert ingest(dataset_name="wti-daily", **take).version.number == 2
    with pytest.raises(Invalid, match=r"device|composed"):
        ingest(dataset_name="other", **take)
