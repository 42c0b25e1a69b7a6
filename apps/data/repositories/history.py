"""The commits of versions that no push brought: made of the version alone, in the order of their numbers.

Where the version that `main` points to is deleted, one more goes back to what is there. They are rows first. Folders
follow (folders.py), whenever somebody asks for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from django.db import transaction

from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.versions.manifest import parents
from apps.data.repositories.gitattributes import ATTRIBUTES, KEPT, with_lines_for
from apps.data.repositories.models import Commit, Objects
from apps.data.repositories.objects import GitObject, commit_of, pointer, stored, trees_of

# In any folder: a name that is Git's own, whatever its case, which no client checks out; and what Git keeps there.
NOT_SHOWN = re.compile(
    rf"(?:\A|/)(?:(?i:\.git|git~1)(?:/|\Z)|(?:{'|'.join(map(re.escape, sorted(KEPT)))})\Z)", re.ASCII
)
BATCH = 100  # versions whose commits are made in one transaction


def record_commit(version: DatasetVersion) -> None:
    """The commit of a version just added, in its transaction, where the dataset's row is locked already.

    One that comes back is no news to a `main` that has moved on to a younger one. Where older versions still have none
    (they are older than repositories), all wait for the next `complete`.
    """
    older = version.dataset.versions.filter(number__lt=version.number, commits=None)
    if older.exists():
        return
    last = last_of(version.dataset) or root(version.dataset)
    if last.version is None or last.version.number < version.number:
        append(version.dataset, last, version)


def complete(dataset: Dataset) -> Commit:
    """The newest commit, once every version has one and its own is there: in batches, each under the lock that numbers
    versions.
    """
    while True:
        last = last_of(dataset)
        if last is not None and not dataset.versions.filter(commits=None).exists() and not is_deleted(last):
            return last
        with transaction.atomic():
            locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
            last = last_of(locked) or root(locked)
            lacking = list(locked.versions.filter(commits=None).order_by("number")[:BATCH])
            for version in lacking:
                last = append(locked, last, version)
            if not lacking and last.version is not None and is_deleted(last):
                go_back(locked, last, last.version)


def last_of(dataset: Dataset) -> Commit | None:
    return Commit.objects.filter(dataset=dataset).order_by("-position").first()


def root(dataset: Dataset) -> Commit:
    """The first commit, which says what goes to LFS and holds nothing else."""
    kept = with_lines_for({}, [])
    return add(dataset, None, None, kept, {}, dataset.created_by, dataset.created_at, f"{dataset.name}\n")


def is_deleted(commit: Commit) -> bool:
    """Whether its version is deleted: its pointers lead nowhere once the garbage is collected."""
    gone = DatasetVersion.objects.exclude(deleted_at=None)
    return commit.version_id is not None and gone.filter(pk=commit.version_id).exists()


def append(dataset: Dataset, last: Commit, version: DatasetVersion) -> Commit:
    by, at = version.created_by, version.created_at
    return put(dataset, last, version, by, at, message_of(dataset, version))


def go_back(dataset: Dataset, last: Commit, gone: DatasetVersion) -> Commit:
    """The version of the newest commit, `gone`, is deleted: the files that `main` held before it, as one more commit.

    Where no version is left it has no files. By whom and when is what the deletion says, so it is made again the same.
    """
    there = Commit.objects.filter(dataset=dataset, version__isnull=False, version__deleted_at=None)
    found = there.select_related("version").order_by("-position").first()
    version = found.version if found else None
    shown = f"back to v{version.number}" if version else "no files"
    parts = [f"{dataset.name}: {shown}, v{gone.number} is deleted", one_line(gone.delete_reason)]
    parts += [f"Manifest: sha256:{version.digest}"] if version else []
    message = "\n\n".join(part for part in parts if part) + "\n"
    return put(dataset, last, version, gone.deleted_by, gone.deleted_at or gone.created_at, message)


def put(dataset: Dataset, last: Commit, version: DatasetVersion | None, by: str, at: datetime, message: str) -> Commit:
    """The files of the version, all by pointers, on top of `last`; what a person keeps for Git stays."""
    files, before = pointers_of(version) if version else {}, made_before(last)
    folders = folders_of(files)
    kept = {
        path: text
        for path, text in last.kept.items()
        if path not in folders and files.keys().isdisjoint(parents(path))  # a path is a file or a folder
    }
    # Where the plane wrote what stands there, the files of that commit have their lines.
    kept = with_lines_for(kept, files.keys() - before.keys() if ATTRIBUTES in kept else files)
    return add(dataset, last, version, kept, files, by, at, message, before)


def message_of(dataset: Dataset, version: DatasetVersion) -> str:
    parts = [f"{dataset.name} v{version.number}", version.note.strip()]
    trailers = [f"Script: {one_line(version.script)}"] if version.script else []
    trailers += [f"Job: {version.job_id}"] if version.job_id else []
    parts.append("\n".join([*trailers, f"Manifest: sha256:{version.digest}"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def add(
    dataset: Dataset,
    last: Commit | None,
    version: DatasetVersion | None,
    kept: Mapping[str, str],
    files: Mapping[str, bytes],
    by: str,
    at: datetime,
    message: str,
    before: Mapping[str, bytes] = MappingProxyType({}),
) -> Commit:
    """One commit on top of `last`, with the objects that it adds to `before`, what `last` is known to have.

    A folder in which nothing differs has the tree that it had, so it is not added.
    """
    texts = {path: text.encode() for path, text in kept.items()} | dict(files)
    blobs = {path: GitObject("blob", data) for path, data in texts.items()}
    trees = trees_of(blobs)
    there = set(before.values())
    differ = {path for path, data in texts.items() if before.get(path) != data} | (before.keys() - texts.keys())
    touched = folders_of(differ) | {""}
    fresh = [blob for path, blob in blobs.items() if path in differ and blob.data not in there]
    fresh += [tree for folder, tree in trees.items() if folder in touched]
    name = re.sub(r"[<>\x00-\x1f\x7f]", "", by).strip(" .,:;\"'\\") or "plane"
    author = f"{name} <{re.sub(r'[^A-Za-z0-9._-]', '-', name)}@plane>"
    made = commit_of(tree=trees[""].sha, before=last.sha if last else "", author=author, at=at, message=message)
    commit = Commit.objects.create(
        dataset=dataset,
        position=last.position + 1 if last else 0,
        sha=made.sha,
        version=version,
        author=author[:200],
        authored_at=at,
        kept=dict(kept),
    )
    Objects.objects.create(commit=commit, data=stored({one.name: one for one in [*fresh, made]}.values()))
    return commit


def made_before(last: Commit) -> dict[str, bytes]:
    """{path: data} that is in the repository for certain: of a commit that the plane made, whose version is there.

    What a push brought is not looked into: what it has too is stored a second time, which does no harm.
    """
    if last.pack_id is not None or last.version is None:
        return {}
    return {path: text.encode() for path, text in last.kept.items()} | pointers_of(last.version)


def folders_of(paths: Iterable[str]) -> set[str]:
    """Every folder on the way to one of these paths, but the root."""
    inner = {path.rpartition("/")[0] for path in paths} - {""}
    return inner.union(*(parents(folder) for folder in inner))


def pointers_of(version: DatasetVersion) -> dict[str, bytes]:
    """{path: LFS pointer} of the files that Git can show: not those with a name that is its own."""
    rows = json.loads(version.manifest)["files"]
    return {row["path"]: pointer(row["sha256"], row["size"]) for row in rows if not NOT_SHOWN.search(row["path"])}


def one_line(text: str) -> str:
    return " ".join(text.split())
