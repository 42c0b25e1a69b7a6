"""GET mlflow-artifacts/artifacts/<path>, get-artifact: files come back whole, or as a range."""

from __future__ import annotations

import pytest

from apps.core.canonical import sha256_hex
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
from tests.apps.gateways.mlflow.conftest import FILES


@pytest.fixture
def note(track, place):
    track.put(f"{place}/notes/note.txt", b"hello world")
    return f"{FILES}{place}/notes/note.txt"


def test_a_file_is_sent_to_be_saved(track, note):
    response = track.send("GET", note)
    assert response.getvalue() == b"hello world"
    assert response["Content-Disposition"] == 'attachment; filename="note.txt"'
    assert response["Content-Type"] == "text/plain"


def test_a_model_file_is_text(track, place):
    """Also where its sender told no kind, or called it bytes."""
    kinds = {}
    for name, kind in (("a/MLmodel", ""), ("b/MLmodel", "application/octet-stream"), ("c/weights.bin", "")):
        track.put(f"{place}/{name}", b"flavors: {}", content_type=kind)
        kinds[name] = track.send("GET", f"{FILES}{place}/{name}")["Content-Type"]
    assert kinds == {"a/MLmodel": "text/plain", "b/MLmodel": "text/plain", "c/weights.bin": "application/octet-stream"}


def test_a_range_of_it(track, note):
    response = track.client.get(note, headers={"range": "bytes=6-"}, **track.headers)
    assert (response.status_code, response.getvalue()) == (206, b"world")


def test_a_damaged_file_is_not_sent(track, note):
    path = get_store().path_of(sha256_hex(b"hello world"))
    path.chmod(0o600)
    path.write_bytes(b"hellO world")
    assert track.refused("GET", note)[:2] == (409, "RESOURCE_CONFLICT")  # of 5xx its client would try again for minutes
    assert Artifact.objects.exclude(damaged_at=None).count() == 1


@pytest.mark.parametrize("path", ["notes", "notes/other.txt", ""])
def test_what_is_no_file_is_not_there(track, place, note, path):
    assert track.refused("GET", f"{FILES}{place}/{path}")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_token_of_another_project_sees_none(client_of, stranger, note):
    assert client_of(stranger).refused("GET", note)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_nobody_without_a_token(client, note):
    assert client.get(note).status_code == 401


def test_bytes_that_are_gone_are_named(track, place, run, note):
    get_store().set_aside(run.artifacts.get().artifact_id)
    assert track.refused("GET", note)[:2] == (409, "RESOURCE_CONFLICT")


def test_by_a_link(track, run, note):
    link = f"/get-artifact?run_uuid={run.pk}&path=notes/note.txt"
    assert track.send("GET", link).getvalue() == b"hello world"
    for path, expected in (("nothing", 404), ("../x", 400), ("", 400)):
        assert track.refused("GET", f"/get-artifact?run_id={run.pk}&path={path}")[0] == expected
    assert track.refused("GET", f"/get-artifact?run_id={'0' * 32}&path=notes/note.txt")[0] == 404


def test_a_link_is_only_read_and_by_who_may_see_runs(track, client_of, viewer, run, note):
    link = f"/get-artifact?run_id={run.pk}&path=notes/note.txt"
    for method in ("POST", "PUT", "DELETE"):
        assert track.refused(method, link)[:2] == (405, "METHOD_NOT_ALLOWED")
    assert client_of(viewer, scopes=["model.view"]).refused("GET", link)[0] == 403


def test_a_path_that_is_too_long_is_not_unwrapped(track, place):
    code, _, message = track.refused("GET", f"{FILES}{place}/%25{'25' * 400}41")
    assert code == 400
    assert "characters" in message
