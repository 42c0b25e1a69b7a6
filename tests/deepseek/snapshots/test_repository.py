"""A repository of snapshots: what comes back, what is stored twice, what it tells, and every way to spoil it."""

from __future__ import annotations

import errno
import hashlib
import os
from itertools import pairwise

import pytest

from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.keys import generate_key, generate_recovery_key, parse_recovery_key
from deepseek.snapshots.repository import Repository
from deepseek.snapshots.storage import FolderStorage
from tests.deepseek.snapshots.conftest import take

ONE, TWO = "1" * 32, "2" * 32
OBJECTS = [b"", b"a small object", bytes(2_500_000)]


def read_all(repository, name):
    snapshot = repository.read_snapshot(name)
    index = repository.read_index(snapshot)
    files = {path: b"".join(repository.read_file(entry)) for path, entry in index.files.items()}
    return files, [b"".join(repository.read_object(digest)) for digest, _size in repository.iter_objects(index)]


def list_object_files(place):
    return sorted(path for path in place.root.rglob("*") if path.is_file() and "objects" in path.parts)


def test_both_keys_give_everything_back(place, dump):
    take(place.open(), ONE, {"database": dump, "keys/a.pem": b"key"}, OBJECTS)
    for repository in place.open(), place.open_for_recovery():
        assert read_all(repository, ONE) == ({"database": dump, "keys/a.pem": b"key"}, OBJECTS)


def test_second_snapshot_adds_only_what_is_new(place, dump):
    first = place.open()
    take(first, ONE, {"database": dump}, OBJECTS)
    second = place.open()
    changed = dump[:1_000_000] + b"one more row" + dump[1_000_000:]
    take(second, TWO, {"database": changed}, [*OBJECTS, b"new"])
    assert second.added_bytes < first.added_bytes / 2
    assert read_all(second, TWO)[0] == {"database": changed}


def test_nothing_plain_is_in_the_folder(place, dump):
    secret = b"the name of a patient" * 100
    take(place.open(), ONE, {"database": dump, "table": secret}, [secret])
    names = " ".join(str(path) for path in place.root.rglob("*"))
    bodies = b"".join(path.read_bytes() for path in place.root.rglob("*") if path.is_file())
    assert hashlib.sha256(secret).hexdigest() not in names
    assert b"patient" not in bodies
    assert place.plane_key.hex().encode() not in bodies
    assert place.recovery_text.encode() not in bodies
    assert all(path.stat().st_mode & 0o077 == 0 for path in list_object_files(place))


def test_flipped_bit_in_any_object_is_noticed(place):
    repository = place.open()
    snapshot = take(repository, ONE, {"database": b"rows" * 50_000}, OBJECTS)
    digests = sorted(set(repository.iter_digests(snapshot)))
    assert repository.verify_objects(digests) == []
    unnoticed = []
    for path in list_object_files(place):
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            if len(repository.verify_objects(digests)) != 1:
                unnoticed.append((path.name, at))
        path.write_bytes(whole)
    assert unnoticed == []


def test_cut_swapped_and_missing_objects_are_noticed(place):
    repository = place.open()
    snapshot = take(repository, ONE, {}, [b"first", b"second", bytes(2_500_000)])
    digests = sorted(set(repository.iter_digests(snapshot)))
    files = list_object_files(place)
    bodies = {path: path.read_bytes() for path in files}
    for path, following in pairwise(files):
        for spoilt in (bodies[following], bodies[path][:-17], bodies[path] + b"\0", b""):
            path.write_bytes(spoilt)
            assert len(repository.verify_objects(digests)) == 1
        path.unlink()
        assert len(repository.verify_objects(digests)) == 1
        path.write_bytes(bodies[path])


def test_spoilt_root_and_header_are_refused(place):
    repository = place.open()
    take(repository, ONE, {"a": b"1"}, [])
    root = place.root / "snapshots" / ONE
    root.write_bytes(root.read_bytes()[:-1] + b"x")
    header = (place.root / "repository.json").read_text()
    with pytest.raises(SnapshotError) as caught:
        repository.read_snapshot(ONE)
    assert caught.value.code == "snapshot_damaged"
    codes = {
        "{}": "snapshot_repository_malformed",
        "": "snapshot_repository_missing",
        "[1]": "snapshot_repository_malformed",
    }
    codes[header.replace('"wrapped": "', '"wrapped": "00')] = "snapshot_key_wrong"
    for text, code in codes.items():
        (place.root / "repository.json").write_text(text)
        with pytest.raises(SnapshotError) as caught:
            place.open()
        assert caught.value.code == code


def test_wrong_keys_are_refused(place):
    other, (text, _public) = generate_key(), generate_recovery_key()
    for keys in {"plane_key": other}, {"recovery_key": parse_recovery_key(text)}, {"plane_key": b""}:
        with pytest.raises(SnapshotError) as caught:
            place.open(**keys)
        assert caught.value.code == "snapshot_key_wrong"


def test_recovery_key_is_read_as_it_was_written_down(place):
    text = place.recovery_text
    assert parse_recovery_key(f" {text.lower().replace('-', ' ')}\n") == parse_recovery_key(text)
    letter = "A" if text[8] != "A" else "B"
    for wrong in text[:-2], text[:8] + letter + text[9:], "", "DSRK1-0189", text.removeprefix("DSRK1-"):
        with pytest.raises(SnapshotError) as caught:
            parse_recovery_key(wrong)
        assert caught.value.code == "recovery_key_malformed"


def test_new_plane_key_replaces_the_former(place):
    place.open_for_recovery().admit_plane(b"n" * 32)
    assert place.open(plane_key=b"n" * 32).repository_id
    with pytest.raises(SnapshotError):
        place.open()


def test_removal_takes_what_no_other_snapshot_needs(place, dump):
    repository = place.open()
    take(repository, ONE, {"database": dump}, [b"old", b"shared"])
    take(repository, TWO, {"database": dump}, [b"shared"])
    before = len(list_object_files(place))
    repository.remove_snapshot(ONE)
    objects, size = repository.collect()
    assert (before - len(list_object_files(place)), size > 0) == (objects, True)
    assert read_all(place.open(), TWO) == ({"database": dump}, [b"shared"])
    repository.remove_snapshot(TWO)
    repository.collect()
    assert list_object_files(place) == []


def test_removal_stops_at_a_snapshot_that_cannot_be_read(place):
    repository = place.open()
    take(repository, ONE, {}, [b"one"])
    (place.root / "snapshots" / TWO).write_bytes(b"garbage")
    before = list_object_files(place)
    with pytest.raises(SnapshotError):
        repository.collect()
    assert list_object_files(place) == before


def test_damaged_source_is_left_out(place):
    repository = place.open()

    def vanish():
        raise FileNotFoundError

    assert not repository.add_object("0" * 64, lambda: [b"other bytes"])
    assert not repository.add_object("1" * 64, vanish)
    repository.storage.flush()
    assert list_object_files(place) == []
    assert not list((place.root / "staging").iterdir())


def test_refusal_says_whether_the_source_or_the_repository_failed(place):
    def read_badly():
        yield b"first"
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    repository = place.open()
    cells = {
        "artifact": lambda: repository.add_object("0" * 64, read_badly),
        "source": lambda: repository.add_file(read_badly()),
    }
    for field, work in cells.items():
        with pytest.raises(SnapshotError) as caught:
            work()
        assert (caught.value.code, caught.value.field) == ("snapshot_source_unreadable", field)
        assert "Input/output error" in str(caught.value.message)
    assert not list((place.root / "staging").iterdir())
    (place.root / "staging").rmdir()
    (place.root / "staging").write_bytes(b"")
    with pytest.raises(SnapshotError, match="cannot be written") as caught:
        repository.add_file([b"rows"])
    assert caught.value.code == "snapshot_storage_unavailable"


def test_folder_that_cannot_be_listed_is_no_empty_one(place):
    repository = place.open()
    take(repository, ONE, {}, [b"one"])
    stray = place.root / "objects" / "00" / ".nfs01"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"")
    assert repository.collect() == (0, 0)
    before = list_object_files(place)
    (place.root / "snapshots").rename(place.root / "aside")
    (place.root / "snapshots").write_bytes(b"")
    with pytest.raises(SnapshotError) as caught:
        repository.collect()
    assert caught.value.code == "snapshot_storage_unavailable"
    assert list_object_files(place) == before


class Crash(BaseException):
    """The process is gone."""


class CrashingStorage(FolderStorage):
    """Dies at the n-th step: while it writes, before it renames, or before it deletes."""

    def __init__(self, root, steps):
        super().__init__(root)
        self.steps = steps

    def step(self):
        self.steps -= 1
        if self.steps < 0:
            raise Crash

    def write(self, name, chunks):
        def watch():
            for chunk in chunks:
                self.step()
                yield chunk

        return super().write(name, watch())

    def flush(self):
        self.step()
        super().flush()

    def delete(self, name):
        self.step()
        super().delete(name)


def test_death_at_any_step_costs_no_snapshot(place):
    """After each the repository opens, the first snapshot is whole, and the interrupted work goes through."""
    files, objects = {"database": b"rows" * 1000}, [b"x" * 10, b"y" * 10]
    take(place.open(), ONE, files, objects)
    steps = deaths = 0
    while True:
        repository = place.open(CrashingStorage(place.root, steps))
        try:
            take(repository, TWO, {"database": b"rows" * 999 + b"%d" % steps}, [*objects, b"z%d" % steps])
            repository.remove_snapshot(TWO)
            repository.collect()
            break
        except Crash:
            deaths += 1
        survivor = place.open()
        assert read_all(survivor, ONE) == (files, objects)
        if TWO in survivor.list_snapshot_ids():
            assert read_all(survivor, TWO)[1][:2] == objects
            survivor.remove_snapshot(TWO)
        survivor.collect()
        steps += 1
    assert deaths > 15
    assert read_all(place.open(), ONE) == (files, objects)


def test_one_writer_at_a_time(place):
    first, second = FolderStorage(place.root), FolderStorage(place.root)
    with first.lock():
        with pytest.raises(SnapshotError) as caught, second.lock():
            pass
        assert caught.value.code == "snapshot_busy"
        with pytest.raises(SnapshotError) as caught:
            Repository.create(second, plane_key=b"k" * 32, recovery_public=b"\x09" * 32)
        assert caught.value.code == "snapshot_busy"
    with second.lock():
        pass


def test_repository_is_never_overwritten(place):
    with pytest.raises(SnapshotError) as caught:
        Repository.create(FolderStorage(place.root), plane_key=b"k" * 32, recovery_public=b"\x09" * 32)
    assert caught.value.code == "snapshot_repository_exists"


def test_names_lead_nowhere_else(place):
    storage = FolderStorage(place.root)
    for name in "../x", "objects/../../x", "/etc/passwd", "snapshots/" + "1" * 31, "":
        with pytest.raises(ValueError, match="is no name"):
            storage.read(name)
