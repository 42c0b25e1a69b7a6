"""DELETE mlflow-artifacts/artifacts/<path>: a file, or a folder with everything in it."""

from __future__ import annotations

from apps.core.canonical import sha256_hex
from apps.ml.experiments.models import RunArtifact
from apps.platform.audit.models import AuditRecord
from tests.apps.gateways.mlflow.conftest import FILES


def test_a_file_and_a_folder_go(track, place):
    for path in ("a", "sub/b", "sub/c", "subway"):
        track.put(f"{place}/{path}", b"x")
    track.delete(f"{FILES}{place}/a")
    track.delete(f"{FILES}{place}/sub")
    assert [row.path for row in RunArtifact.objects.all()] == ["subway"]
    assert AuditRecord.objects.filter(action="run.delete_files").count() == 2


def test_what_is_not_there_is_gone_already(track, place):
    assert track.delete(f"{FILES}{place}/nothing") == {}
    assert not AuditRecord.objects.filter(action="run.delete_files").exists()


def test_a_delete_sent_twice_deletes_no_other_file(track, place):
    """`a%2520b` in an address is the name `a%20b`; without its encodings it would be the name of the other file."""
    for path in ("a%2520b", "a%20b"):
        track.put(f"{place}/{path}", b"x")
    for _ in range(2):
        track.delete(f"{FILES}{place}/a%2520b")
    assert [row.path for row in RunArtifact.objects.all()] == ["a b"]


def test_nobody_else_may(client_of, viewer, stranger, track, place):
    track.put(f"{place}/a", b"x")
    assert client_of(viewer).refused("DELETE", f"{FILES}{place}/a")[0] == 403
    client_of(stranger).delete(f"{FILES}{place}/a")
    assert RunArtifact.objects.count() == 1
    assert track.refused("DELETE", f"{FILES}{place}/%2e%2e/a")[::2] == (400, "Invalid path")


def test_the_record_tells_what_went(track, place):
    track.put(f"{place}/sub/a", b"gone")
    track.delete(f"{FILES}{place}/sub")
    assert sha256_hex("gone") in AuditRecord.objects.get(action="run.delete_files").body
