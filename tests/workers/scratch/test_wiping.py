"""A secret that one job leaves in its scratch cannot be read by the next, nor from the blocks of its file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from workers import process, runner, tasks
from workers.scratch import wiping
from workers.scratch.wiping import remove_scratch

SECRET = b"patient 4711 " * 200_000


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "secret").write_bytes(SECRET)
    return folder


def read_blocks(handle: int) -> bytes:
    """What a file that was removed still holds, as its blocks on the disk would."""
    return os.pread(handle, len(SECRET) + 1, 0)


@pytest.mark.parametrize("overwrite", [True, False])
def test_blocks_are_overwritten_before_the_name_goes(scratch, overwrite):
    (scratch / "out" / "secret").chmod(0o400)
    handle = os.open(scratch / "out" / "secret", os.O_RDONLY)
    remove_scratch(scratch, overwrite=overwrite)
    assert not scratch.exists()
    assert (read_blocks(handle) == bytes(len(SECRET))) is overwrite
    os.close(handle)


def test_nothing_outside_is_touched(scratch, tmp_path):
    outside, shared = tmp_path / "outside", tmp_path / "shared"
    outside.mkdir()
    (outside / "file").write_bytes(b"of the plane")
    shared.write_bytes(b"of the store")
    (scratch / "link").symlink_to(outside / "file")
    (scratch / "folder").symlink_to(outside)
    (scratch / "shared").hardlink_to(shared)
    os.mkfifo(scratch / "pipe")
    remove_scratch(scratch, overwrite=True)
    assert not scratch.exists()
    assert ((outside / "file").read_bytes(), shared.read_bytes()) == (b"of the plane", b"of the store")


def test_what_a_job_hides_from_the_wiping_is_overwritten(scratch):
    """A second name, a folder that is closed, and a name that cannot be opened before it."""
    secret = scratch / "out" / "secret"
    (scratch / "again").hardlink_to(secret)
    handle = os.open(secret, os.O_RDONLY)
    (scratch / "closed").mkdir()
    (scratch / "closed" / "more").write_bytes(SECRET)
    (scratch / "closed").chmod(0)
    remove_scratch(scratch, overwrite=True)
    assert not scratch.exists()
    assert read_blocks(handle) == bytes(len(SECRET))
    os.close(handle)


def test_one_file_that_fails_does_not_spare_the_others(scratch, monkeypatch):
    (scratch / "bad").write_bytes(b"x")
    (scratch / "zbad").write_bytes(b"x")
    handle = os.open(scratch / "out" / "secret", os.O_RDONLY)
    overwrite_file = wiping.overwrite_file

    def fail(name, folder, about):
        if "bad" in name:
            raise OSError(5, "Input/output error")
        overwrite_file(name, folder, about)

    monkeypatch.setattr(wiping, "overwrite_file", fail)
    remove_scratch(scratch, overwrite=True)
    assert read_blocks(handle) == bytes(len(SECRET))
    os.close(handle)


def test_holes_of_a_sparse_file_are_not_written(scratch):
    path = scratch / "sparse"
    with path.open("wb") as file:
        file.write(SECRET)
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(SECRET)
    handle = os.open(path, os.O_RDONLY)
    remove_scratch(scratch, overwrite=True)
    assert os.fstat(handle).st_blocks * 512 < 64 << 20
    assert not any(os.pread(handle, len(SECRET), 1 << 30))
    assert not any(read_blocks(handle))
    os.close(handle)


def test_a_scratch_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"x")
    (tmp_path / "scratch").symlink_to(tmp_path / "other")
    remove_scratch(tmp_path / "scratch", overwrite=True)
    assert (tmp_path / "other" / "file").read_bytes() == b"x"


def test_a_scratch_that_cannot_be_looked_at_raises_nothing(tmp_path):
    remove_scratch(tmp_path / ("x" * 300), overwrite=True)  # as does a mount that is stale


@pytest.mark.django_db(transaction=True)
def test_the_next_job_finds_nothing_of_the_one_before(worker, submit, settings, monkeypatch):
    settings.ENV = settings.ENV.model_copy(update={"scratch_wipe": "overwrite"})
    handles = []
    execute = runner.Attempt.execute

    def plant(self, inputs):
        leftovers = [path for path in runner.get_scratch_root().rglob("secret") if path.is_file()]
        assert leftovers == []
        (self.scratch / "secret").write_bytes(SECRET)
        handles.append(os.open(self.scratch / "secret", os.O_RDONLY))
        return execute(self, inputs)

    monkeypatch.setattr(runner.Attempt, "execute", plant)
    submit()
    submit()
    assert tasks.run_next("cpu") == 2
    assert [any(read_blocks(handle)) for handle in handles] == [False, False]
    assert [path for path in runner.get_scratch_root().rglob("*") if stat.S_ISREG(path.lstat().st_mode)] == []
    for handle in handles:
        os.close(handle)


def test_what_a_killed_worker_left_goes_at_the_next_start(scratch, monkeypatch):
    monkeypatch.setattr(process, "is_of_dead_worker", lambda mark: True)
    handle = os.open(scratch / "out" / "secret", os.O_RDONLY)
    process.remove_stale_scratch(Path(scratch).parent, overwrite=True)
    assert not scratch.exists()
    assert not any(read_blocks(handle))
    os.close(handle)
