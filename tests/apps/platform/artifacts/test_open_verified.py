"""No wrong byte leaves: what is read is verified chunk by chunk, and damage is marked where it is met."""

from __future__ import annotations

import os
from datetime import timedelta
from hashlib import sha256
from types import SimpleNamespace

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.core.errors import Unavailable
from apps.platform.artifacts import verification
from apps.platform.artifacts.digests import CHUNK_BYTES, HASH_BYTES
from apps.platform.artifacts.intake import Intake
from apps.platform.artifacts.models import Artifact, ChunkDigests
from apps.platform.artifacts.services import (
    Damaged,
    adopt,
    damage,
    publish_upload,
    verify_stored_artifact,
    verify_stored_artifacts,
)
from apps.platform.artifacts.verification import open_verified, read_verified
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.artifacts.conftest import overwrite

DATA = os.urandom(5 * CHUNK_BYTES // 2)  # three chunks
DIGEST = sha256_hex(DATA)
HERE = f"/api/v1/projects/demo/artifacts/{DIGEST}"


@pytest.fixture
def sent(folder, engineer, actor_for, project):
    """The store with an artifact of three chunks in it."""
    publish_upload(actor=actor_for(engineer), project=project, stream=[DATA[:700_000], DATA[700_000:]])
    return folder


@pytest.fixture
def unchunked(sent):
    """The same, published before the digests of chunks were kept."""
    ChunkDigests.objects.all().delete()
    Artifact.objects.update(chunked_at=None)
    return sent


@pytest.fixture
def rung(monkeypatch):
    """Tasks that were sent to the workers."""
    names: list[tuple[str, list[str]]] = []
    app = SimpleNamespace(send_task=lambda name, args, **_: names.append((name, args)))
    monkeypatch.setattr(verification, "current_app", app)
    return names


def flip(store, at: int, digest: str = DIGEST) -> None:
    data = bytearray(b"".join(store.open(digest)))
    data[at] ^= 1
    overwrite(store, digest, bytes(data))


def damaged_records() -> int:
    return AuditRecord.objects.filter(action="artifact.damaged", object_id=DIGEST).count()


def fetch(client, **headers) -> tuple[int, bytes, bool]:
    """(status, the bytes that came, whether the answer was cut off)"""
    answer, parts = client.get(HERE, headers=headers), []
    if not answer.streaming:
        return answer.status_code, b"", False
    try:
        for part in answer.streaming_content:
            parts.append(part)  # noqa: PERF402 - what came before the cut counts
    except Damaged:
        return answer.status_code, b"".join(parts), True
    return answer.status_code, b"".join(parts), False


def test_chunk_digests_are_kept_at_publication(sent):
    row = ChunkDigests.objects.get()
    assert (row.part, len(row.digests), Artifact.objects.get().chunked_at is not None) == (0, 3 * HASH_BYTES, True)
    assert bytes(row.digests[-HASH_BYTES:]).hex() == sha256_hex(DATA[2 * CHUNK_BYTES :])


def test_answer_is_cut_before_the_damaged_chunk(sent, api, viewer):
    flip(sent, 2 * CHUNK_BYTES + 5)
    assert fetch(api(viewer)) == (200, DATA[: 2 * CHUNK_BYTES], True)
    assert (damaged_records(), sent.exists(DIGEST)) == (1, False)
    assert fetch(api(viewer))[0] == 500
    assert damaged_records() == 1


def test_bucket_is_verified_likewise(bucket, engineer, actor_for, project, api, viewer):
    publish_upload(actor=actor_for(engineer), project=project, stream=[DATA])
    assert (
        fetch(api(viewer), Range=f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}")[1] == DATA[CHUNK_BYTES - 1 : CHUNK_BYTES + 1]
    )
    flip(bucket, CHUNK_BYTES)
    assert fetch(api(viewer)) == (200, DATA[:CHUNK_BYTES], True)
    assert (damaged_records(), bucket.exists(DIGEST)) == (1, False)


def test_damage_in_the_first_chunk_is_an_error_before_any_byte(sent, api, viewer):
    flip(sent, 0)
    answer = api(viewer).get(HERE)
    assert (answer.status_code, answer.json()["error"]["code"], damaged_records()) == (500, "artifact_damaged", 1)


def test_object_of_another_size_is_never_sent(sent, api, viewer):
    overwrite(sent, DIGEST, DATA[: CHUNK_BYTES + 1])
    assert (api(viewer).head(HERE).status_code, damaged_records()) == (500, 1)


def test_range_verifies_the_chunks_that_it_touches(sent, api, viewer):
    flip(sent, 10)
    client, middle = api(viewer), f"bytes={CHUNK_BYTES - 4}-{CHUNK_BYTES + 3}"
    assert fetch(client, Range="bytes=-9") == (206, DATA[-9:], False)
    assert fetch(client, Range=f"bytes={CHUNK_BYTES}-{CHUNK_BYTES + 3}")[1] == DATA[CHUNK_BYTES : CHUNK_BYTES + 4]
    assert damaged_records() == 0
    assert fetch(client, Range=middle)[0] == 500
    assert damaged_records() == 1


def test_range_over_a_border_is_exact(sent):
    assert read_verified(DIGEST, CHUNK_BYTES - 4, 2 * CHUNK_BYTES + 4) == DATA[CHUNK_BYTES - 4 : 2 * CHUNK_BYTES + 4]


def test_large_artifacts_load_the_digests_of_a_range_only(sent, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(damage, "CHUNKS_PER_PART", 1)
    monkeypatch.setattr(verification, "CHUNKS_PER_PART", 1)
    ChunkDigests.objects.all().delete()
    Artifact.objects.update(chunked_at=None, verified_at=timezone.now() - timedelta(days=1))
    verify_stored_artifacts(actor=verification.build_plane_actor(verification.PlaneRole.OPERATOR))
    assert ChunkDigests.objects.count() == 3
    artifact = Artifact.objects.get()
    with django_assert_num_queries(1):
        read_verified(artifact, 2 * CHUNK_BYTES)
    assert read_verified(artifact) == DATA


def test_transfer_that_went_wrong_once_goes_on(sent, monkeypatch):
    reads = iter([b"x" * CHUNK_BYTES])
    real = verification.read_exactly
    monkeypatch.setattr(verification, "read_exactly", lambda *words: next(reads, None) or real(*words))
    assert read_verified(DIGEST) == DATA
    assert damaged_records() == 0


def test_store_that_is_away_is_not_damage(sent, api, viewer, monkeypatch):
    def away() -> None:
        raise Unavailable("The store is away.", code="store_unreachable")

    overwrite(sent, DIGEST, None)
    monkeypatch.setattr(sent, "check", away)
    assert (api(viewer).get(HERE).status_code, damaged_records()) == (503, 0)


def test_small_one_without_chunk_digests_is_read_whole_first(unchunked, api, viewer):
    assert fetch(api(viewer), Range="bytes=-9") == (206, DATA[-9:], False)
    assert len(ChunkDigests.objects.get().digests) == 3 * HASH_BYTES
    ChunkDigests.objects.all().delete()
    Artifact.objects.update(chunked_at=None)
    flip(unchunked, len(DATA) - 1)
    assert (fetch(api(viewer))[0], damaged_records()) == (500, 1)


def test_last_chunk_of_a_large_one_is_held_back(unchunked, api, viewer, monkeypatch):
    monkeypatch.setattr(verification, "WHOLE_BYTES", CHUNK_BYTES)
    assert fetch(api(viewer)) == (200, DATA, False)
    assert len(ChunkDigests.objects.get().digests) == 3 * HASH_BYTES
    ChunkDigests.objects.all().delete()
    Artifact.objects.update(chunked_at=None)
    flip(unchunked, 5)
    status, came, was_cut = fetch(api(viewer))
    assert (status, len(came), was_cut, damaged_records()) == (200, 2 * CHUNK_BYTES, True, 1)


def test_slow_reader_leaves_the_repaired_bytes_alone(unchunked, monkeypatch):
    monkeypatch.setattr(verification, "WHOLE_BYTES", CHUNK_BYTES)
    flip(unchunked, 5)
    with verification.open_verified(Artifact.objects.get()) as reading:
        next(reading)
        overwrite(unchunked, DIGEST, DATA)  # a new file: the reader goes on with the old one
        with pytest.raises(Damaged):
            list(reading)
    assert (unchunked.exists(DIGEST), damaged_records()) == (True, 0)


def test_range_of_a_large_one_waits_for_the_scrub(unchunked, api, viewer, monkeypatch, rung):
    monkeypatch.setattr(verification, "WHOLE_BYTES", CHUNK_BYTES)
    for _ in range(2):
        answer = api(viewer).get(HERE, headers={"Range": "bytes=-9"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "artifact_unverified")
    assert rung == [(verification.SCRUB_TASK, [DIGEST])]
    worker = verification.build_plane_actor(verification.PlaneRole.WORKER)
    assert [verify_stored_artifact(actor=worker, digest=DIGEST) for _ in range(2)] == [True, None]
    assert fetch(api(viewer), Range="bytes=-9") == (206, DATA[-9:], False)


def test_scrub_begins_with_what_has_no_chunk_digests(unchunked, stored, worker_actor, operator, project):
    long_ago = timezone.now() - timedelta(days=9)
    adopt(actor=worker_actor, project=project, digest=stored(unchunked, b"small"), size=5)
    Artifact.objects.exclude(pk=DIGEST).update(verified_at=long_ago)
    Artifact.objects.filter(pk=DIGEST).update(verified_at=long_ago + timedelta(days=1))
    assert verify_stored_artifacts(actor=operator, limit=1).bytes_read == len(DATA)
    assert len(ChunkDigests.objects.get().digests) == 3 * HASH_BYTES


def test_one_chunk_is_held_in_memory(sent):
    assert {len(chunk) for chunk in open_verified(DIGEST)} == {CHUNK_BYTES, CHUNK_BYTES // 2}


def test_large_files_are_chunked_by_threads_of_their_own(folder, engineer, actor_for, project, tmp_path):
    data = os.urandom((9 << 20) + 5)
    expected = b"".join(sha256(data[at : at + CHUNK_BYTES]).digest() for at in range(0, len(data), CHUNK_BYTES))
    pieces = [data[at : at + 777_777] for at in range(0, len(data), 777_777)]
    publish_upload(actor=actor_for(engineer), project=project, stream=pieces)
    assert bytes(ChunkDigests.objects.get().digests) == expected
    path = tmp_path / "large"
    path.write_bytes(data)
    with Intake(folder) as intake:
        assert intake.take(path).chunks == expected
