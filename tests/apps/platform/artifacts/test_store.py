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
def test_what_is_published_can_be_read(each_store, known, data, left_behind):
    digest = sha256_hex(data)
    with each_store.open_staging(known and digest) as staging:
        for start in range(0, len(data), CHUNK):
            staging.write(data[start : start + CHUNK])
        assert staging.publish(known and digest, len(data)) == (digest, len(data))
    assert b"".join(each_store.open(digest)) == data
    assert each_store.size(digest) == len(data)
    assert each_store.verify(digest)
    assert left_behind(each_store) == []


def test_a_part_can_be_read(each_store, stored):
    stored(each_store, DATA)
    parts = [(0, 1), (5, None), (CHUNK - 1, CHUNK + 1), (0, len(DATA)), (7, 7)]
    assert [part for part in parts if read(each_store, *part) != DATA[slice(*part)]] == []


@pytest.mark.parametrize("known", [None, DIGEST])
def test_equal_bytes_are_stored_once(each_store, stored, known, left_behind):
    stored(each_store, DATA)
    with each_store.open_staging(known) as staging:
        staging.write(DATA)
        assert staging.publish() == (DIGEST, len(DATA))
    assert read(each_store) == DATA
    assert left_behind(each_store) == []


@pytest.mark.parametrize(
    ("announced", "error", "code"),
    [((OTHER, None), Invalid, "digest_mismatch"), ((None, 5), Malformed, "body_cut_off")],
)
@pytest.mark.parametrize("known", [None, OTHER])
def test_what_is_not_as_announced_is_not_published(each_store, announced, error, code, known, left_behind):
    staging = each_store.open_staging(known)
    staging.write(DATA)
    with pytest.raises(error) as refused:
        staging.publish(*announced)
    assert refused.value.code == code
    assert not each_store.exists(DIGEST)
    assert not each_store.exists(OTHER)
    assert left_behind(each_store) == []


@pytest.mark.parametrize("known", [None, DIGEST])
def test_what_is_not_published_leaves_nothing(each_store, known, left_behind):
    with each_store.open_staging(known) as staging:
        staging.write(DATA * 5)  # above one part of a multipart upload
    assert not each_store.exists(DIGEST)
    assert left_behind(each_store) == []


def test_no_path_is_built_from_anything_but_a_digest(each_store):
    for digest in ("", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 65):
        for ask in (each_store.open, each_store.size, each_store.exists, each_store.verify, each_store.set_aside):
            with pytest.raises(Invalid, match="no SHA-256 digest"):
                ask(digest)


def test_an_absent_object_is_absent(each_store):
    assert not each_store.exists(DIGEST)
    for ask in (each_store.open, each_store.size, each_store.verify):
        with pytest.raises(FileNotFoundError):
            ask(DIGEST)


def test_a_flipped_bit_is_found(each_store, stored, damage):
    stored(each_store, DATA)
    damage(each_store, DIGEST)
    assert not each_store.verify(DIGEST)


def test_bytes_set_aside_make_room_for_the_right_ones(each_store, stored, damage):
    stored(each_store, DATA)
    damage(each_store, DIGEST)
    each_store.set_aside(DIGEST)
    assert not each_store.exists(DIGEST)
    stored(each_store, DATA)
    assert each_store.verify(DIGEST)


def test_a_sweep_takes_what_is_old_only(each_store, left_behind):
    staging = each_store.open_staging()
    staging.write(DATA * 5)
    assert each_store.sweep(timedelta(hours=1)) == 0
    assert len(left_behind(each_store)) == 1
    assert each_store.sweep(timedelta(0)) == 1
    assert left_behind(each_store) == []
    staging.discard()


def test_a_store_that_is_away_is_no_damage(each_store, tmp_path):
    for store in (each_store.plain, each_store.encrypted) if isinstance(each_store, EncryptedStore) else (each_store,):
        store.root = str(tmp_path / "away") if isinstance(store.root, str) else tmp_path / "away"
    if hasattr(each_store, "endpoint"):
        each_store.root = "no-such-bucket/plane"
    with pytest.raises(Unavailable):
        each_store.check()
