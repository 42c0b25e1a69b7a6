"""POST objects/batch: the shape of every answer, as git-lfs's specification has it."""

from __future__ import annotations

import hashlib

import pytest

from apps.platform.artifacts.stores import get_store
from tests.apps.data.repositories.conftest import LFS, TABLE

pytestmark = pytest.mark.django_db
OID = hashlib.sha256(TABLE).hexdigest()


def test_what_is_lacking_gets_an_address(asker, engineer, dataset):
    answer = asker(engineer).batch("upload", (OID, len(TABLE)), HTTP_HOST="127.0.0.1:8443")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, LFS)
    body = answer.json()
    (one,) = body.pop("objects")
    assert body == {"transfer": "basic", "hash_algo": "sha256"}
    assert one["authenticated"] is True
    assert set(one["actions"]) == {"upload", "verify"}
    assert one["actions"]["upload"]["href"].startswith(
        f"http://testserver/git/demo/wti.git/info/lfs/objects/{OID}?ticket="
    )
    assert "header" not in one["actions"]["upload"]


def test_what_is_held_needs_no_upload(asker, engineer, dataset, held):
    held()
    (one,) = asker(engineer).batch("upload", (OID, len(TABLE))).json()["objects"]
    assert one == {"oid": OID, "size": len(TABLE)}


def test_what_is_held_and_lost_or_cut_must_be_sent(asker, engineer, dataset, held):
    path = get_store().path_of(held().digest)
    for data in (TABLE[:-1], None):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        (one,) = asker(engineer).batch("upload", (OID, len(TABLE))).json()["objects"]
        assert "upload" in one["actions"], data


def test_what_only_another_project_holds_must_be_sent(asker, engineer, dataset, held, other_project):
    held(where=other_project)
    (one,) = asker(engineer).batch("upload", (OID, len(TABLE))).json()["objects"]
    assert "actions" in one
    (one,) = asker(engineer).batch("download", (OID, len(TABLE))).json()["objects"]
    assert one["error"]["code"] == 404


def test_a_fault_is_of_its_object_alone(asker, engineer, dataset, held):
    held()
    asked = [("xyz", 1), (OID, -1), (OID, len(TABLE)), (OID, 1), ("0" * 64, 5), ("1" * 64, True)]
    answer = asker(engineer).batch("download", *asked)
    found = [one.get("error", {}).get("code") for one in answer.json()["objects"]]
    assert (answer.status_code, found) == (200, [422, 422, None, 422, 404, 422])
    assert [one["oid"] for one in answer.json()["objects"]] == [oid for oid, _ in asked]


REQUESTS = [
    ({"operation": "look"}, 422),
    ({"hash_algo": "sha512"}, 409),
    ({"transfers": ["ssh", "tus"]}, 422),
    ({"transfers": []}, 200),
    ({"ref": {"name": "refs/heads/main"}}, 200),
    ({"objects": "none"}, 422),
    ({"objects": [{}] * 1001}, 413),
]


def test_unusual_requests(asker, engineer, dataset):
    client, wrong = asker(engineer), {}
    for more, status in REQUESTS:
        body = {"operation": "upload", "objects": [{"oid": OID, "size": 3}], "transfers": ["basic"]} | more
        answer = client.lfs("/objects/batch", body)
        if (answer.status_code, answer.headers["Content-Type"]) != (status, LFS) or not (
            status == 200 or answer.json()["message"]
        ):
            wrong[repr(more)[:60]] = (answer.status_code, answer.content)
    assert wrong == {}


def test_no_json_and_no_such_answer(asker, engineer, dataset):
    assert asker(engineer).lfs("/objects/batch", b"{").status_code == 400
    assert asker(engineer).lfs("/objects/batch", b"[]").status_code == 400
    assert asker(engineer).lfs("/objects/batch", {}, HTTP_ACCEPT="text/html").status_code == 406


def test_over_the_quota_says_how_much_is_left(asker, engineer, dataset, held, limits):
    held(b"x" * 60)
    limits(project_quota_bytes=100)
    answer = asker(engineer).batch("upload", ("1" * 64, 30), ("2" * 64, 30))
    assert answer.status_code == 507
    assert "may hold 100, 40 are left" in answer.json()["message"]
    assert asker(engineer).batch("upload", ("1" * 64, 30)).status_code == 200


def test_who_asks(asker, dataset, engineer, viewer, stranger, client):
    nobody = asker().batch("download", (OID, 1))
    assert nobody.status_code == 401
    assert nobody.headers["LFS-Authenticate"].startswith("Basic realm=")
    assert nobody.json()["message"]
    assert asker(viewer).batch("download", (OID, 1)).status_code == 200
    assert asker(viewer).batch("upload", (OID, 1)).status_code == 403
    assert asker(stranger).batch("download", (OID, 1)).status_code == 404
    assert asker(engineer, basic=True).batch("upload", (OID, 1)).status_code == 200


def test_a_dataset_that_is_not_there(asker, engineer, viewer, dataset):
    """A push asks for the references first: then its uploads are taken, for the dataset that it is to make."""
    there = asker(engineer)
    there.at = "/git/demo/new.git"
    refused = there.batch("upload", (OID, 1))
    assert refused.status_code == 404
    assert "no dataset 'new', so nothing was uploaded" in refused.json()["message"]
    assert there.get("/info/refs?service=git-receive-pack").status_code == 200
    for who, operation, status in ((engineer, "upload", 404), (engineer, "download", 404), (viewer, "upload", 403)):
        other = asker(who)  # with a token of its own
        other.at = there.at
        assert other.batch(operation, (OID, 1)).status_code == status
    assert there.batch("upload", (OID, 1)).status_code == 200
    there.at = "/git/demo/No-Name.git"
    assert there.batch("upload", (OID, 1)).status_code == 422
