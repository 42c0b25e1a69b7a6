"""What a push may cost at most: the memory of a child, what is read of a commit, how many references are heard."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import zlib

import pytest

from apps.core.errors import Invalid, TooLarge
from apps.data.repositories import folders, git, receive_pack
from apps.data.repositories.objects import GitObject
from apps.data.repositories.push_contents import read_git_file
from apps.data.repositories.trees import HEAD_LIMIT, QuarantinedObjects, TreeEntry

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


@pytest.fixture
def folder(settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    settings.ENV = settings.ENV.model_copy(update={"repositories_folder": None})
    at = folders.get_home() / "1.git"
    folders.make_repository(at)
    return at


def in_pack(kind: int, size: int, body: bytes, base: bytes = b"") -> bytes:
    head = [kind << 4 | size & 0xF]
    size >>= 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head) + base + zlib.compress(body, 9)


def varied(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def bomb(times: int) -> bytes:
    """A pack of some 20 kB: a blob of 8 MB, and a delta that says it `times` times over."""
    base = bytes(8 << 20)
    copy = bytes([0x80 | 0x40, base_size := 0x80])  # the upper byte of a size of 8 MB
    assert base_size << 16 == len(base)
    delta = varied(len(base)) + varied(len(base) * times) + copy * times
    name = bytes.fromhex(GitObject("blob", base).sha)
    made = b"PACK" + struct.pack(">II", 2, 2)
    made += in_pack(3, len(base), base) + in_pack(7, len(delta), delta, name)
    return made + hashlib.sha1(made, usedforsecurity=False).digest()


def test_a_delta_cannot_take_the_memory_of_the_host(folder):
    assert len(bomb(1024)) < 40_000
    with pytest.raises(git.GitFailed, match="ut of memory"):
        git.run("index-pack", "--stdin", cwd=folder, input_chunks=iter([bomb(1024)]))  # 8 GB
    git.run("index-pack", "--stdin", cwd=folder, input_chunks=iter([bomb(4)]))


def test_every_child_has_the_limit(folder):
    told = git.run("-c", "alias.limit=!ulimit -d", "limit", cwd=folder)
    assert int(told) == git.MEMORY_BYTES >> 10


def test_no_commit_is_read_whose_message_is_a_book(folder):
    lines = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor Wei <w@b> 1 +0000\ncommitter Wei <w@b> 1 +0000\n\n"
    made = git.run(
        "hash-object", "-t", "commit", "-w", "--stdin", "--literally", cwd=folder, input_chunks=[lines + b"hi\n"]
    )
    objects = QuarantinedObjects(folder, folder / "objects")
    assert objects.head(made.decode().strip()).message == "hi"
    book = lines + b"x" * HEAD_LIMIT
    large = git.run("hash-object", "-t", "commit", "-w", "--stdin", "--literally", cwd=folder, input_chunks=[book])
    with pytest.raises(Invalid) as refused:
        objects.head(large.decode().strip())
    assert refused.value.code == "commit_too_large"


def test_nobody_waits_for_a_push_of_endless_references():
    read, write = os.pipe()
    hook = subprocess.Popen(["/usr/bin/yes", "0 1 refs/heads/another"], stdout=write)
    os.close(write)
    try:
        with pytest.raises(TooLarge) as refused:
            receive_pack.read_hook_request(read, 60)
        assert refused.value.code == "only_main"
    finally:
        os.close(read)
        hook.wait()


def test_a_nul_in_what_git_keeps():
    class Blob:
        def read_blob(self, sha):
            return b"*.csv\0 filter=lfs\n"

    with pytest.raises(Invalid) as refused:
        read_git_file(".gitattributes", TreeEntry("100644", "blob", "0" * 40, 18), Blob())
    assert refused.value.code == "kept_undecodable"
