"""What lies on the disk of an encrypted store, what is read out of it, and what a change of it leads to."""

from __future__ import annotations

import os

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import Unavailable
from apps.platform.artifacts.digests import CHUNK_BYTES
from apps.platform.artifacts.encryption.objects import HEADER_BYTES, SEALED_CHUNK_BYTES, compute_plain_size
from apps.platform.artifacts.stores import get_store
from tests.apps.platform.artifacts.conftest import FORMER_KEYS

SECRET = b"patient 4711, positive "
DATA = SECRET * (5 * CHUNK_BYTES // 2 // len(SECRET)) + os.urandom(100)


def read(store, digest, *args):
    return b"".join(store.open(digest, *args))


def change(store, digest, edit) -> None:
    path = store.encrypted.path_of(digest)
    data = bytearray(path.read_bytes())
    path.unlink()
    path.write_bytes(edit(data) or data)


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "sm4-gcm"])
def test_nothing_plain_lies_on_the_disk(encrypted, stored, settings, cipher, tmp_path):
    settings.ENV = settings.ENV.model_copy(update={"store_encryption": cipher})
    store = get_store()
    digest = stored(store, DATA)
    assert read(store, digest) == DATA
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(SECRET in path.read_bytes() for path in files) == 0
    assert store.encrypted.path_of(digest).stat().st_size > len(DATA)


def test_sizes_are_those_of_the_plain_bytes(encrypted, stored):
    for size in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 5):
        data = os.urandom(size)
        digest = stored(encrypted, data)
        assert encrypted.size(digest) == size
        assert read(encrypted, digest) == data
    assert compute_plain_size(HEADER_BYTES + 3) == compute_plain_size(HEADER_BYTES + SEALED_CHUNK_BYTES + 3) == -1


def test_ranges_read_what_a_plain_store_reads(encrypted, stored):
    digest = stored(encrypted, DATA)
    edges = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 7, 2 * CHUNK_BYTES, len(DATA) - 1, len(DATA)]
    ranges = [(start, end) for start in edges for end in edges if start < end]
    assert [span for span in ranges if read(encrypted, digest, *span) != DATA[slice(*span)]] == []


def test_every_change_of_the_file_is_damage(encrypted, stored):
    changes = {
        "a flipped bit": lambda data: data.__setitem__(CHUNK_BYTES + 500, data[CHUNK_BYTES + 500] ^ 1),
        "the salt": lambda data: data.__setitem__(40, data[40] ^ 1),
        "the id of its data key": lambda data: data.__setitem__(20, data[20] ^ 1),  # no key of this id is missing
        "the magic": lambda data: data.__setitem__(0, 0),
        "cut off behind a chunk": lambda data: data[: HEADER_BYTES + SEALED_CHUNK_BYTES],
        "two chunks exchanged": lambda data: (
            data[:HEADER_BYTES]
            + data[HEADER_BYTES + SEALED_CHUNK_BYTES : HEADER_BYTES + 2 * SEALED_CHUNK_BYTES]
            + data[HEADER_BYTES : HEADER_BYTES + SEALED_CHUNK_BYTES]
            + data[HEADER_BYTES + 2 * SEALED_CHUNK_BYTES :]
        ),
        "empty": lambda data: bytearray(1),
    }
    passed = []
    for name, edit in changes.items():
        digest = stored(encrypted, DATA)
        change(encrypted, digest, edit)
        if encrypted.verify(digest):
            passed.append(name)
        encrypted.set_aside(digest)
    assert passed == []


def test_equal_bytes_are_two_ciphertexts(encrypted, stored):
    area = encrypted.area("test", "one")
    first, second = stored(encrypted, DATA), stored(area, DATA)
    paths = encrypted.encrypted.path_of(first), area.encrypted.path_of(second)
    assert paths[0].read_bytes()[HEADER_BYTES:] != paths[1].read_bytes()[HEADER_BYTES:]


def test_plain_objects_from_before_stay_readable(folder, stored, request):
    digest = stored(folder, DATA)
    encrypted = request.getfixturevalue("encrypted")
    assert read(encrypted, digest) == DATA
    assert stored(encrypted, DATA) == digest  # sent again: encrypted, and the plain copy goes
    assert not folder.exists(digest)
    assert read(encrypted, digest) == DATA
    assert [item.digest for item in encrypted.objects()] == [digest]


def test_without_its_key_it_says_so_and_nothing_is_damaged(encrypted, stored, settings):
    digest = stored(encrypted, DATA)
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": FORMER_KEYS})
    with pytest.raises(Unavailable) as refusal:
        get_store().open(digest)
    assert refusal.value.code == "store_key_missing"
    assert "first" in refusal.value.message


def test_a_bucket_is_encrypted_likewise(encrypted_bucket, stored):
    store = encrypted_bucket
    digest = stored(store, DATA)
    assert read(store, digest, 5, 2 * CHUNK_BYTES) == DATA[5 : 2 * CHUNK_BYTES]
    assert SECRET not in store.plain.fs.cat_file(store.encrypted.key_of(digest))
    assert store.encrypt_again(digest) == len(DATA)
    store.collect(digest)
    assert not store.exists(digest)
    assert sha256_hex(DATA) == digest
