"""Read the objects of a push through Git, from the quarantine they lie in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

from apps.core.errors import Invalid
from apps.data.repositories import git
from deepseek.messages import N_

CHUNK = 1 << 20
HEAD_LIMIT = 1 << 20  # bytes of a commit: its message, mostly
ENTRY_LIMIT = 10_100  # of a tree: the files of a version, and what is Git's own


@dataclass(frozen=True, slots=True)
class TreeEntry:
    mode: str
    kind: str
    sha: str
    size: int


@dataclass(frozen=True, slots=True)
class CommitHead:
    """A commit: who, when, and what about."""

    author: str
    at: int
    message: str


class QuarantinedObjects:
    """The objects of a repository and of a quarantine."""

    def __init__(self, folder: Path, quarantine: Path) -> None:
        self.folder, self.quarantine = folder, quarantine
        variables = {"GIT_DIR": str(folder), "GIT_OBJECT_DIRECTORY": str(quarantine)}
        self.env = git.build_environment({**variables, "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(folder / "objects")})

    def run(self, *words: str) -> bytes:
        return git.run(*words, cwd=self.folder, env=self.env)

    def is_descendant(self, new: str, old: str) -> bool:
        """Whether `old` is among the ancestors of `new`: of more commits than fit, it is not looked for."""
        try:
            self.run("merge-base", "--is-ancestor", old, new)
        except git.GitFailed:
            return False
        return True

    def find_merge_base(self, new: str, old: str) -> str:
        """The newest common ancestor; "" for none."""
        try:
            return self.run("merge-base", old, new).decode().strip()
        except git.GitFailed:
            return ""

    def count(self, new: str, old: str) -> int:
        """How many commits `new` brings on top of `old`."""
        return int(self.run("rev-list", "--count", new, *([f"^{old}"] if old else [])))

    def find_blobs(self, new: str, old: str, name: str) -> set[str]:
        """The blobs of this name, in any spelling, in the root of the commits that `new` brings, or of `new` itself."""
        words = ("rev-list", "--objects", new, *([f"^{old}"] if old else []), "--", f":(top,icase){name}")
        rows = [row.partition(b" ") for row in self.run(*words).splitlines()]
        brought = {sha.decode() for sha, _, path in rows if path.decode(errors="replace").lower() == name}
        at_tip = self.run("ls-tree", "-z", "--full-tree", new, "--", name).partition(b"\t")[0].split()
        return brought | {at_tip[2].decode() for _ in at_tip[2:3] if at_tip[1] == b"blob"}

    def count_unpacked_bytes(self, limit: int) -> int:
        """Bytes of all objects that came, uncompressed; of more than `limit`, what was counted when it was passed."""
        alone = {name: value for name, value in self.env.items() if name != "GIT_ALTERNATE_OBJECT_DIRECTORIES"}
        child = git.start(
            "cat-file",
            *("--batch-all-objects", "--unordered", "--batch-check=%(objectsize)"),
            cwd=self.folder,
            env=alone,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        counted = 0
        with git.Deadline(child, settings.ENV.git_seconds) as deadline:
            for row in child.stdout or ():
                counted += int(row)
                if counted > limit:
                    return counted
            if child.wait():
                raise (
                    git.git_too_slow_error()
                    if deadline.passed
                    else git.GitFailed("cat-file", child.returncode, "sizes")
                )
        return counted

    def kind(self, sha: str) -> str:
        return self.run("cat-file", "-t", sha).decode().strip()

    def list_entries(self, commit: str) -> dict[str, TreeEntry]:
        """{path: entry} of a commit's whole tree. Invalid for too many, or a path that is not UTF-8."""
        child = git.start(
            "ls-tree",
            *("-r", "-l", "-z", "--full-tree", commit),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with git.Deadline(child, settings.ENV.git_seconds):
            entries = dict(read_entries(child.stdout))
            if child.wait():
                raise git.GitFailed("ls-tree", child.returncode, commit)
        return entries

    def head(self, commit: str) -> CommitHead:
        """Who made the commit, and why. Invalid for one that is larger than any person writes."""
        size = int(self.run("cat-file", "-s", commit))
        if size > HEAD_LIMIT:
            raise Invalid(
                "The commit {commit} has {size} bytes.",
                commit=commit[:12],
                size=size,
                code="commit_too_large",
                limit=HEAD_LIMIT,
                hint=N_("Give it a shorter message: git commit --amend."),
            )
        data = self.run("cat-file", "commit", commit)
        head, _, message = data.partition(b"\n\n")
        rows = dict(row.split(b" ", 1) for row in head.split(b"\n") if b" " in row and not row.startswith(b" "))
        author, _, when = rows.get(b"author", b"").rpartition(b"> ")
        seconds = when.split(b" ")[0]
        return CommitHead(
            author=decode_text(author + b">"),
            at=min(int(seconds), 253_402_300_799) if seconds.isdigit() else 0,
            message=decode_text(message).strip(),
        )

    def pack(self) -> Path | None:
        """The file in which the push came, whole; None where it brought no object."""
        return next(iter(sorted((self.quarantine / "pack").glob("*.pack"))), None)

    @contextmanager
    def open_reader(self) -> Iterator[BlobReader]:
        """One child that hands out blobs, for as long as the block lasts."""
        child = git.start(
            "cat-file",
            "--batch",
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with git.Deadline(child, settings.ENV.git_seconds):
            yield BlobReader(child)


class BlobReader:
    """Blobs, one after the other: each is read to its end before the next is asked for."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("git cat-file was started without pipes")
        self.stdin, self.stdout = child.stdin, child.stdout

    def iter_chunks(self, sha: str) -> Iterator[bytes]:
        self.stdin.write(f"{sha}\n".encode())
        self.stdin.flush()
        head = self.stdout.readline().split()
        if len(head) != 3:
            raise git.GitFailed("cat-file", 0, f"{sha} is not there")
        left = int(head[2])
        while left:
            chunk = self.stdout.read(min(CHUNK, left))
            if not chunk:
                raise git.GitFailed("cat-file", 0, f"{sha} ended early")
            left -= len(chunk)
            yield chunk
        self.stdout.read(1)  # a line end follows

    def read_blob(self, sha: str) -> bytes:
        return b"".join(self.iter_chunks(sha))


def read_entries(out: IO[bytes] | None) -> Iterator[tuple[str, TreeEntry]]:
    """Rows of `ls-tree -l -z`: "mode kind sha size<TAB>path", each ended by NUL."""
    rest, count = b"", 0
    while out is not None and (chunk := out.read(CHUNK)):
        *rows, rest = (rest + chunk).split(b"\0")
        if len(rest) > CHUNK:  # or it would be copied once more with each chunk
            raise Invalid(
                "The path {rest!r}... is longer than {chunk} bytes.",
                rest=rest[:80].decode(errors="replace"),
                chunk=CHUNK,
                code="bad_path",
                field="path",
                limit=CHUNK,
                hint=N_("Rename the file: git mv OLD NEW."),
            )
        for row in rows:
            count += 1
            if count > ENTRY_LIMIT:
                raise Invalid(
                    "The commit has more than {entry_limit} files.",
                    entry_limit=ENTRY_LIMIT,
                    code="too_many_files",
                    limit=ENTRY_LIMIT,
                    hint=N_("Put small files together, for instance into one Parquet file."),
                )
            about, _, path = row.partition(b"\t")
            mode, kind, sha, size = about.split()
            yield (
                decode_path(path),
                TreeEntry(mode.decode(), kind.decode(), sha.decode(), int(size) if size != b"-" else 0),
            )


def decode_path(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Invalid(
            "The path {raw!r} is not UTF-8.",
            raw=raw.decode(errors="replace")[:80],
            code="bad_path",
            field="path",
            hint=N_("Rename the file: git mv OLD NEW."),
        ) from None


def decode_text(raw: bytes) -> str:
    """UTF-8, or what can be shown of it; a NUL no database keeps."""
    return raw.decode(errors="replace").replace("\0", "")


def map_blobs(entries: Mapping[str, TreeEntry]) -> dict[str, str]:
    """{blob: a path that has it}."""
    return {entry.sha: path for path, entry in entries.items()}
