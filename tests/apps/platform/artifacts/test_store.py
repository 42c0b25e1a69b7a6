"""What both stores promise."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid, Malformed, Unavailable
from apps.platform.artifacts.encryption.store import EncryptedStore
from apps.platform.artifacts.store import CHUNK

DATA = b"0123456789" * 400_000  # 4 MB: more than one chunk
DIGEST = sha256_hex(DATA)
OTHER = sha256_hex(b"other")


def read(store, *args):
    return b"".join(store.open(DIGEST, *args))


@pytest.mark.parametrize("known", [None, DIGEST])
@pytest.mark.parametrize("data", [DATA, b"x", b""], ids=["4 MB", "one byte", "empty"])
def test_what_is_published_can_be_read(kept, known, data, left_behind):
    digest = sha256_hex(data)
    with kept.open_staging(known and digest) as staging:
        for start in range(0, len(data), CHUNK):
            staging.write(data[start : start + CHUNK])
        assert staging.publish(known and digest, len(data)) == (digest, len(data))
    assert b"".join(kept.open(digest)) == data
    assert kept.size(digest) == len(data)
    assert kept.verify(digest)
    assert left_behind(kept) == []


def test_a_part_can_be_read(kept, stored):
    stored(kept, DATA)
    parts = [(0, 1), (5, None), (CHUNK - 1, CHUNK + 1), (0, len(DATA)), (7, 7)]
    assert [part for part in parts if read(kept, *part) != DATA[slice(*part)]] == []


@pytest.mark.parametrize("known", [None, DIGEST])
def test_equal_bytes_are_stored_once(kept, stored, known, left_behind):
    stored(kept, DATA)
    with kept.open_staging(known) as staging:
        staging.write(DATA)
        assert staging.publish() == (DIGEST, len(DATA))
    assert read(kept) == DATA
    assert left_behind(kept) == []


@pytest.mark.parametrize(
    ("announced", "error", "code"),
    [((OTHER, None), Invalid, "digest_mismatch"), ((None, 5), Malformed, "body_cut_off")],
)
@pytest.mark.parametrize("known", [None, OTHER])
def test_what_is_not_as_announced_is_not_published(kept, announced, error, code, known, left_behind):
    staging = kept.open_staging(known)
    staging.write(DATA)
    with pytest.raises(error) as refused:
        staging.publish(*announced)
    assert refused.value.code == code
    assert not kept.exists(DIGEST)
    assert not kept.exists(OTHER)
    assert left_behind(kept) == []


@pytest.mark.parametrize("known", [None, DIGEST])
def test_what_is_not_published_leaves_nothing(kept, known, left_behind):
    with kept.open_staging(known) as staging:
        staging.write(DATA * 5)  # above one part of a multipart upload
    assert not kept.exists(DIGEST)
    assert left_behind(kept) == []


def test_no_path_is_built_from_anything_but_a_digest(kept):
    for digest in ("", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 65):
        for ask in (kept.open, kept.size, kept.exists, kept.verify, kept.set_aside):
            with pytest.raises(Invalid, match="no SHA-256 digest"):
                ask(digest)


def test_an_absent_object_is_absent(kept):
    assert not kept.exists(DIGEST)
    for ask in (kept.open, kept.size, kept.verify):
        with pytest.raises(FileNotFoundError):
            ask(DIGEST)


def test_a_flipped_bit_is_found(kept, stored, damage):
    stored(kept, DATA)
    damage(kept, DIGEST)
    assert not kept.verify(DIGEST)


def test_bytes_set_aside_make_room_for_the_right_ones(kept, stored, damage):
    stored(kept, DATA)
    damage(kept, DIGEST)
    kept.set_aside(DIGEST)
    assert not kept.exists(DIGEST)
    stored(kept, DATA)
    assert kept.verify(DIGEST)


def test_a_sweep_takes_what_is_old_only(kept, left_behind):
    staging = kept.open_staging()
    staging.write(DATA * 5)
    assert kept.sweep(timedelta(hours=1)) == 0
    assert len(left_behind(kept)) == 1
    assert kept.sweep(timedelta(0)) == 1
    assert left_behind(kept) == []
    staging.discard()


def test_a_store_that_is_away_is_no_damage(kept, tmp_path):
    for store in (kept.plain, kept.encrypted) if isinstance(kept, EncryptedStore) else (kept,):
        store.root = str(tmp_path / "away") if isinstance(store.root, str) else tmp_path / "away"
    if hasattr(kept, "endpoint"):
        kept.root = "no-such-bucket/plane"
    with pytest.raises(Unavailable):
        kept.check()
