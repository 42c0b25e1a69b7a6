"""Git's own words about the objects that we write without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from datetime import UTC, datetime

import pytest

from apps.data.repositories.objects import (
    GitObject,
    build_commit,
    build_pack,
    build_pointer,
    build_trees,
    parse_objects,
    parse_pointer,
    serialize_objects,
    wrap_uncompressed,
)

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
FILES = {"a.csv": b"1\n", "a/b.txt": b"2\n", "a-b": b"", "a/c/d": b"3\n", "ab": b"4\n", "数据/表.csv": "一\n".encode()}


@pytest.fixture
def git(tmp_path):
    def run(*words, data=None):
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(["git", *words], cwd=tmp_path, env=env, input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init", "-q", "--bare", ".")
    return run


@pytest.fixture
def objects():
    blobs = {path: GitObject("blob", data) for path, data in FILES.items()}
    trees = list(build_trees(blobs).values())
    at = datetime(2026, 1, 2, tzinfo=UTC)
    commit = build_commit(tree=trees[-1].sha, before="", author="Wei <wei@plane>", at=at, message="wti v1\n")
    return [*blobs.values(), *trees, commit]


def test_git_reads_what_was_packed(git, objects):
    git("index-pack", "--stdin", data=build_pack(parse_objects(serialize_objects([*objects, *objects]))))
    git("fsck", "--strict")
    listed = git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", objects[-1].sha).decode().split("\n")
    assert set(filter(None, listed)) == set(FILES)
    assert git("cat-file", "blob", f"{objects[-1].sha}:a/c/d") == b"3\n"


@pytest.mark.parametrize("data", [b"", b"x", build_pointer("ab" * 32, 7), b"y" * 255])
def test_what_is_stored_unpressed_is_read_by_zlib(data):
    assert zlib.decompress(wrap_uncompressed(data)) == data


def test_a_pointer_is_read_as_it_is_written():
    assert parse_pointer(build_pointer("ab" * 32, 7)) == ("ab" * 32, 7)


@pytest.mark.parametrize(
    "data", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"a,b\n1,2\n", build_pointer("a" * 64, 1) + b"x"]
)
def test_what_is_no_pointer_is_a_file(data):
    assert parse_pointer(data) is None


def test_an_empty_file_is_its_own_pointer():
    assert build_pointer("e3" * 32, 0) == b""
