"""A bare repository for each dataset that a client has requested, built from the rows of its commits.

The database is the truth. A folder that is behind is brought up, one that says something else is made anew, and one
that is gone comes back with the same commits; so it may lie on a share, on each host by itself, or be deleted.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection

from apps.core.errors import PlaneError, Unavailable
from apps.data.datasets.models import Dataset
from apps.data.repositories import git, history
from apps.data.repositories.hook import HOOKS
from apps.data.repositories.models import Commit, Objects
from apps.data.repositories.objects import build_pack, parse_objects
from apps.platform.artifacts.store import STALE
from apps.platform.artifacts.verification import open_verified
from deepseek.messages import N_

log = logging.getLogger(__name__)

MAIN, MASTER = "refs/heads/main", "refs/heads/master"
LOCK_SECONDS = 60.0
COMMITS_PER_PACK = 200  # commits whose objects are written as one pack
TEMPORARY_PREFIXES = ("new-", "old-", "passing-")  # folders that live for one request
MAX_PACKS = 50  # more are put together


def get_home() -> Path:
    """The folder of the repositories, with the hooks, of which one asks this process about every push."""
    root = Path(settings.ENV.repositories_folder or Path(settings.PLANE_HOME) / "repositories").absolute()
    for name, text in HOOKS.items():
        hook = root / "hooks" / name
        if not hook.is_file() or hook.read_text() != text:
            hook.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = hook.with_name(f".{secrets.token_hex(8)}")
            fresh.write_text(text)
            fresh.chmod(0o700)
            fresh.rename(hook)
    return root


def get_folder(dataset: Dataset) -> Path:
    return get_home() / f"{dataset.pk}.git"


def read_main_sha(folder: Path) -> str:
    """The commit that `main` points to there; "" for none. Read as it lies: nothing here packs references."""
    try:
        return (folder / MAIN).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def read_references(folder: Path) -> dict[str, str]:
    """{reference: commit} of a folder, read as they lie. Lock files of Git and hidden files of a share are none."""
    references: dict[str, str] = {}
    for parent, _folders, names in os.walk(folder / "refs"):
        for name in names:
            if not name.startswith(".") and not name.endswith(".lock"):
                path = Path(parent, name)
                with suppress(FileNotFoundError):
                    references[path.relative_to(folder).as_posix()] = path.read_text().strip()
    return references


def is_current(folder: Path, sha: str) -> bool:
    """Whether the folder has `main` at this commit and nothing else.

    A process that dies after it has accepted a push of `master` leaves that branch behind.
    """
    return read_references(folder) == {MAIN: sha}


def ensure_current_folder(dataset: Dataset) -> Path:
    """The folder of this dataset's repository, with every version in it. Unavailable where it stays locked."""
    last = history.ensure_commits(dataset)
    folder = get_folder(dataset)
    if not is_current(folder, last.sha):
        with lock_folder(dataset):
            update_folder(dataset, folder)
    return folder


def ensure_current_locked_folder(dataset: Dataset) -> Path:
    """The same for who holds the lock and is about to write."""
    last = history.ensure_commits(dataset)
    folder = get_folder(dataset)
    if not is_current(folder, last.sha):
        update_folder(dataset, folder)
    return folder


@contextmanager
def lock_folder(dataset: Dataset) -> Iterator[None]:
    """Nobody else writes to the folder meanwhile, on whichever host. Not held by who only reads."""
    path = get_home() / f"{dataset.pk}.lock"
    with path.open("a") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        "Another push to {dataset_name} is being received.",
                        dataset_name=dataset.name,
                        code="repository_busy",
                        hint=N_("Try again in a moment."),
                    ) from None
                time.sleep(0.05)
        yield


def update_folder(dataset: Dataset, folder: Path) -> None:
    """Add what the folder lacks, under its lock; a folder that the rows do not know is made anew."""
    try:
        add_missing_commits(dataset, folder)
    except git.GitFailed:
        log.warning("the repository %s is damaged and made anew", folder.name, exc_info=True)
        remove_folder(folder)
        add_missing_commits(dataset, folder)


def add_missing_commits(dataset: Dataset, folder: Path) -> None:
    head = read_main_sha(folder)
    positions = Commit.objects.filter(dataset=dataset, sha=head).values_list("position", flat=True)
    position = positions.first() if head else None
    if position is None or read_references(folder).keys() != {MAIN}:
        head, position = "", None
        remove_folder(folder)
        make_repository(folder)
    missing = Commit.objects.filter(dataset=dataset, position__gt=-1 if position is None else position).order_by(
        "position"
    )
    last = head
    batch: list[Commit] = []
    for commit in missing.iterator(chunk_size=500):
        batch.append(commit)
        last = commit.sha
        if commit.pack_id or len(batch) >= COMMITS_PER_PACK:
            write_objects(folder, batch)
            batch = []
    write_objects(folder, batch)
    if last != head:
        git.run("update-ref", MAIN, last, cwd=folder)
    if len(list((folder / "objects" / "pack").glob("*.pack"))) > MAX_PACKS:
        git.run("repack", "-d", "-l", "-q", "--geometric=2", cwd=folder, seconds=settings.ENV.git_seconds)


def write_objects(folder: Path, commits: list[Commit]) -> None:
    """The objects of these commits, of which only the last may be one that a push brought."""
    rows = Objects.objects.filter(commit__in=[commit.pk for commit in commits])
    objects = [packed for row in rows.values_list("data", flat=True) for packed in parse_objects(bytes(row))]
    if objects:
        index_pack(folder, iter([build_pack(objects)]))
    if commits and commits[-1].pack_id:
        with closing(open_verified(commits[-1].pack_id)) as stream:
            index_pack(folder, stream)


def index_pack(folder: Path, chunks: Iterator[bytes]) -> None:
    failures: list[PlaneError] = []

    def iter_chunks() -> Iterator[bytes]:
        try:
            yield from chunks
        except PlaneError as error:  # in the thread that feeds Git, where nobody would see it
            failures.append(error)

    try:
        git.run(
            "index-pack",
            "--stdin",
            "--fix-thin",
            cwd=folder,
            input_chunks=iter_chunks(),
            seconds=settings.ENV.git_seconds,
        )
    except git.GitFailed:
        if failures:
            raise failures[0] from None
        raise


def make_repository(folder: Path) -> None:
    """An empty bare repository at this path, or nothing: it gets its name when it is whole."""
    remove_stale_folders()
    fresh = folder.with_name(f"new-{secrets.token_hex(8)}")
    fresh.mkdir(mode=0o700)
    try:
        git.run("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".", cwd=fresh)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_folder(folder: Path) -> None:
    """Out of the way in one step, then gone."""
    aside = folder.with_name(f"old-{secrets.token_hex(8)}")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)


def remove_stale_folders(older_than: timedelta = STALE) -> int:
    """Remove what processes that died have left on the way in or out; how many folders."""
    oldest, removed = time.time() - older_than.total_seconds(), 0
    for path in get_home().glob("*-*"):
        with suppress(FileNotFoundError):
            if path.name.startswith(TEMPORARY_PREFIXES) and path.stat().st_mtime <= oldest:
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
    return removed


@contextmanager
def open_temporary_repository() -> Iterator[Path]:
    """An empty repository for one request: of a dataset that a push is about to make."""
    folder = get_home() / f"passing-{secrets.token_hex(8)}.git"
    make_repository(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def release_connection() -> None:
    """Give the database connection back while Git works; the next query takes another."""
    if not connection.in_atomic_block:
        connection.close()
