"""PUT mlflow-artifacts/artifacts/<path>: bytes into a run or a logged model."""

from __future__ import annotations

import pytest

from apps.core.canonical import sha256_hex
from apps.ml.experiments.models import RunArtifact
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Holding
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from tests.apps.gateways.mlflow.conftest import FILES

pytestmark = pytest.mark.services


def test_bytes_come_whole(track, place, run):
    assert track.put(f"{place}/a/b.txt", b"hello").content == b""
    row = RunArtifact.objects.select_related("artifact").get(run=run)
    assert (row.path, row.size, row.media_type) == ("a/b.txt", 5, "text/plain")
    assert track.send("GET", f"{FILES}{place}/a/b.txt").getvalue() == b"hello"
    assert AuditRecord.objects.filter(action="artifact.hold").count() == 1


def test_a_path_written_again_names_the_new_bytes(track, place, run):
    for data in (b"one", b"two"):
        track.put(f"{place}/a.txt", data)
    assert track.send("GET", f"{FILES}{place}/a.txt").getvalue() == b"two"
    assert (RunArtifact.objects.count(), Holding.objects.count()) == (1, 2)


def test_the_same_bytes_again_are_held_once(track, place):
    for name in ("a.txt", "b.txt", "a.txt"):
        assert track.put(f"{place}/{name}", b"same").status_code == 200
    assert (RunArtifact.objects.count(), Holding.objects.count()) == (2, 1)


def test_an_empty_file_is_a_file(track, place):
    assert track.put(f"{place}/empty.bin", b"").status_code == 200
    assert track.send("GET", f"{FILES}{place}/empty.bin").getvalue() == b""


def test_names_are_decoded_once(track, place):
    assert track.put(f"{place}/a%20b%20%C3%A9.txt", b"x").status_code == 200
    assert RunArtifact.objects.get().path == "a b é.txt"


def test_paths_outside_of_the_run_are_refused(track, place):
    paths = ["../x", "%2e%2e/x", "%252e%252e/x", "a/..%2fx", "a%23b", "x%00y"]
    answers = {path: track.refused("PUT", f"{FILES}{place}/{path}", raw=b"x") for path in paths}
    assert answers == dict.fromkeys(paths, (400, "INVALID_PARAMETER_VALUE", "Invalid path"))
    assert not RunArtifact.objects.exists()


MISLEADING = [
    "..%5C..%5Cx",
    "a%0Ab",
    "a%7Fb",
    "gnp.%E2%80%AEx",  # right-to-left override
    "a%E2%81%A6b",
    "a%E2%80%8Eb",
    "a%E2%80%8Bb",  # zero width space
    "a%EF%BB%BFb",
    "a%E2%80%A8b",  # line separator
    "con",
    "x/Aux.txt",
    "lpt%C2%B9",
    "nul%20.png/x",
    "x.",
    "x%20/y",
]
NAMES = ["console.log", "a/.hidden", "日志.png", "a b", "com10", "images/dog%25step%250%25timestamp%251718.png", "a:b"]


def test_names_that_mislead_a_client_are_refused(track, place):
    found = {path: track.refused("PUT", f"{FILES}{place}/{path}", raw=b"x") for path in MISLEADING}
    assert {path: answer[:2] for path, answer in found.items()} == dict.fromkeys(
        MISLEADING, (400, "INVALID_PARAMETER_VALUE")
    )
    assert "device on Windows" in found["x/Aux.txt"][2]
    assert "U+202E" in found["gnp.%E2%80%AEx"][2]
    assert not RunArtifact.objects.exists()
    assert [name for name in NAMES if track.put(f"{place}/{name}", b"x").status_code != 200] == []


def test_such_a_name_of_before_is_still_read_and_deleted(track, place, run):
    track.put(f"{place}/a.txt", b"hello")
    RunArtifact.objects.update(path="..\\x\u202etxt")
    address = f"{FILES}{place}/..%5Cx%E2%80%AEtxt"
    assert track.send("GET", address).getvalue() == b"hello"
    assert track.send("DELETE", address).status_code == 200
    assert not RunArtifact.objects.exists()


@pytest.mark.parametrize("path", ["%2Fetc/passwd", "file:%2F%2F%2Fetc/passwd", "..", "C:%5Cx"])
def test_so_is_one_that_begins_at_a_root(track, path):
    assert track.refused("PUT", FILES + path, raw=b"x")[0] == 400


@pytest.mark.parametrize("path", ["7/{run}/artifacts/x", "x.txt", "3/" + "0" * 32 + "/artifacts/x"])
def test_a_path_of_nobody_is_not_there(track, run, path):
    assert track.refused("PUT", FILES + path.format(run=run.pk), raw=b"x")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b")])
def test_a_file_is_no_folder(track, place, first, second):
    assert track.put(f"{place}/{first}", b"x").status_code == 200
    assert track.refused("PUT", f"{FILES}{place}/{second}", raw=b"x")[1] == "RESOURCE_CONFLICT"


def test_a_viewer_may_not(client_of, viewer, place):
    assert client_of(viewer).refused("PUT", f"{FILES}{place}/a", raw=b"x")[:2] == (403, "PERMISSION_DENIED")


def test_a_token_needs_the_scope_and_no_more(client_of, engineer, place):
    assert client_of(engineer, scopes=["read", "data:write"]).refused("PUT", f"{FILES}{place}/a", raw=b"x")[0] == 403
    assert client_of(engineer, scopes=["read", "runs:write"]).put(f"{place}/a", b"x").status_code == 200


def test_another_project_has_no_such_run(client_of, stranger, other_project, place, make_token):
    away = client_of(stranger, project=other_project)
    assert away.refused("PUT", f"{FILES}{place}/a", raw=b"x")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_what_a_job_made_is_not_changed(track, place, run):
    facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
    run.job = Job.objects.create(project=Project.objects.get(), kind="train", state="succeeded", **facts)
    run.save()
    status, code, text = track.refused("PUT", f"{FILES}{place}/a", raw=b"x")
    assert (status, code) == (403, "PERMISSION_DENIED")
    assert "job" in text


def test_a_deleted_run_takes_none(track, place, run):
    run.deleted_at = run.started_at
    run.save()
    status, _, text = track.refused("PUT", f"{FILES}{place}/a", raw=b"x")
    assert status == 400
    assert "must be in the 'active' state" in text


def test_the_quota_holds(track, place, settings):
    settings.ENV = settings.ENV.model_copy(update={"project_quota_bytes": 4})
    assert track.refused("PUT", f"{FILES}{place}/a", raw=b"12345")[0] == 503
    assert not RunArtifact.objects.exists()


def test_queries_do_not_grow(track, place, django_assert_num_queries):
    for number in range(3):
        track.put(f"{place}/{number}", b"%d" % number)
    with django_assert_num_queries(PUT_QUERIES):
        track.put(f"{place}/again", b"again")


PUT_QUERIES = 21  # with the savepoints of a test


def test_a_file_that_changes_after_the_end_has_a_record(track, place, run):
    track.put(f"{place}/a.txt", b"one")
    track.post("runs/update", run_id=run.pk, status="FINISHED")
    track.put(f"{place}/a.txt", b"one")
    assert not AuditRecord.objects.filter(action="run.amend").exists()
    track.put(f"{place}/a.txt", b"two")
    record = AuditRecord.objects.get(action="run.amend")
    assert all(sha256_hex(text) in record.body for text in ("one", "two"))


def test_so_has_one_of_a_model_that_was_declared(track, logged):
    path = f"3/models/{logged()}/artifacts/data/weights.bin"
    assert not AuditRecord.objects.filter(action="logged_model.amend").exists()
    track.put(path, b"others")
    assert sha256_hex("weights") in AuditRecord.objects.get(action="logged_model.amend").body
