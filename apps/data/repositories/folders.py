"""A bare repository for each dataset that was asked for: a folder made from the rows of its commits.

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
from apps.data.repositories.objects import pack_of, read_stored
from apps.platform.artifacts.store import STALE
from apps.platform.artifacts.verification import open_verified
from deepseek.messages import N_

log = logging.getLogger(__name__)

MAIN, MASTER = "refs/heads/main", "refs/heads/master"
LOCK_SECONDS = 60.0
AT_ONCE = 200  # commits whose objects are written as one pack
PASSING = ("new-", "old-", "passing-")  # folders that live for one request
PACKS = 50  # more are put together


def home() -> Path:
    """The folder of the repositories, with the hooks, of which one asks this process about every push."""
    at = Path(settings.ENV.repositories_folder or Path(settings.PLANE_HOME) / "repositories").absolute()
    for name, text in HOOKS.items():
        hook = at / "hooks" / name
        if not hook.is_file() or hook.read_text() != text:
            hook.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = hook.with_name(f".{secrets.token_hex(8)}")
            fresh.write_text(text)
            fresh.chmod(0o700)
            fresh.rename(hook)
    return at


def folder_of(dataset: Dataset) -> Path:
    return home() / f"{dataset.pk}.git"


def head_of(folder: Path) -> str:
    """The commit that `main` points to there; "" for none. Read as it lies: nothing here packs references."""
    try:
        return (folder / MAIN).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def up_to_date(dataset: Dataset) -> Path:
    """The folder of this dataset's repository, with every version in it. Unavailable where it stays locked."""
    last = history.complete(dataset)
    folder = folder_of(dataset)
    if head_of(folder) != last.sha:
        with locked(dataset):
            bring_up(dataset, folder)
    return folder


def up_to_date_under_lock(dataset: Dataset) -> Path:
    """The same for who holds the lock and is about to write."""
    last = history.complete(dataset)
    folder = folder_of(dataset)
    if head_of(folder) != last.sha:
        bring_up(dataset, folder)
    return folder


@contextmanager
def locked(dataset: Dataset) -> Iterator[None]:
    """Nobody else writes to the folder meanwhile, on whichever host. Not held by who only reads."""
    path = home() / f"{dataset.pk}.lock"
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


def bring_up(dataset: Dataset, folder: Path) -> None:
    """Add what the folder lacks, under its lock; a folder that the rows do not know is made anew."""
    try:
        add_lacking(dataset, folder)
    except git.GitFailed:
        log.warning("the repository %s is damaged and made anew", folder.name, exc_info=True)
        remove(folder)
        add_lacking(dataset, folder)


def add_lacking(dataset: Dataset, folder: Path) -> None:
    head = head_of(folder)
    here = Commit.objects.filter(dataset=dataset, sha=head).values_list("position", flat=True)
    known = here.first() if head else None
    if known is None:
        remove(folder)
        make(folder)
    lacking = Commit.objects.filter(dataset=dataset, position__gt=-1 if known is None else known).order_by("position")
    last = head
    waiting: list[Commit] = []
    for commit in lacking.iterator(chunk_size=500):
        waiting.append(commit)
        last = commit.sha
        if commit.pack_id or len(waiting) >= AT_ONCE:
            write(folder, waiting)
            waiting = []
    write(folder, waiting)
    if last != head:
        git.run("update-ref", MAIN, last, cwd=folder)
    if len(list((folder / "objects" / "pack").glob("*.pack"))) > PACKS:
        git.run("repack", "-d", "-l", "-q", "--geometric=2", cwd=folder, seconds=settings.ENV.git_seconds)


def write(folder: Path, commits: list[Commit]) -> None:
    """The objects of these commits, of which only the last may be one that a push brought."""
    made = Objects.objects.filter(commit__in=[commit.pk for commit in commits])
    objects = [one for row in made.values_list("data", flat=True) for one in read_stored(bytes(row))]
    if objects:
        index(folder, iter([pack_of(objects)]))
    if commits and commits[-1].pack_id:
        with closing(open_verified(commits[-1].pack_id)) as reading:
            index(folder, reading)


def index(folder: Path, chunks: Iterator[bytes]) -> None:
    failures: list[PlaneError] = []

    def give() -> Iterator[bytes]:
        try:
            yield from chunks
        except PlaneError as error:  # in the thread that feeds Git, where nobody would see it
            failures.append(error)

    try:
        git.run("index-pack", "--stdin", "--fix-thin", cwd=folder, given=give(), seconds=settings.ENV.git_seconds)
    except git.GitFailed:
        if failures:
            raise failures[0] from None
        raise


def make(folder: Path) -> None:
    """An empty bare repository at this path, or nothing: it gets its name when it is whole."""
    sweep()
    fresh = folder.with_name(f"new-{secrets.token_hex(8)}")
    fresh.mkdir(mode=0o700)
    try:
        git.run("init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".", cwd=fresh)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove(folder: Path) -> None:
    """Out of the way in one step, then gone."""
    aside = folder.with_name(f"old-{secrets.token_hex(8)}")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)


def sweep(older_than: timedelta = STALE) -> int:
    """Remove what processes that died have left on the way in or out; how many folders."""
    oldest, removed = time.time() - older_than.total_seconds(), 0
    for path in home().glob("*-*"):
        with suppress(FileNotFoundError):
            if path.name.startswith(PASSING) and path.stat().st_mtime <= oldest:
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
    return removed


@contextmanager
def passing() -> Iterator[Path]:
    """An empty repository for one request: of a dataset that a push is about to make."""
    folder = home() / f"passing-{secrets.token_hex(8)}.git"
    make(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def release_connection() -> None:
    """Give the database connection back while Git works; the next query takes another."""
    if not connection.in_atomic_block:
        connection.close()
