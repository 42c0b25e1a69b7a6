"""Commits of versions that no push brought, derived from the version alone, in the order of their numbers.

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
from apps.data.datasets.versions.manifest import list_parents
from apps.data.repositories.gitattributes import ATTRIBUTES, GIT_FILES, add_lfs_lines
from apps.data.repositories.models import Commit, Objects
from apps.data.repositories.objects import GitObject, build_commit, build_pointer, build_trees, serialize_objects

# In any folder: a name that is Git's own, whatever its case, which no client checks out; and what Git keeps there.
HIDDEN_PATH = re.compile(
    rf"(?:\A|/)(?:(?i:\.git|git~1)(?:/|\Z)|(?:{'|'.join(map(re.escape, sorted(GIT_FILES)))})\Z)", re.ASCII
)
COMMITS_PER_TRANSACTION = 100  # versions whose commits are made in one transaction


def record_commit(version: DatasetVersion) -> None:
    """The commit of a version just added, in its transaction, where the dataset's row is locked already.

    One that comes back is no news to a `main` that has moved on to a younger one. Where older versions still have none
    (they are older than repositories), all wait for the next `ensure_commits`.
    """
    older = version.dataset.versions.filter(number__lt=version.number, commits=None)
    if older.exists():
        return
    last = get_last_commit(version.dataset) or add_root_commit(version.dataset)
    if last.version is None or last.version.number < version.number:
        append_version(version.dataset, last, version)


def ensure_commits(dataset: Dataset) -> Commit:
    """The newest commit, once every version has one and its own is there: in batches, each under the lock that numbers
    versions.
    """
    while True:
        last = get_last_commit(dataset)
        if last is not None and not dataset.versions.filter(commits=None).exists() and not is_deleted(last):
            return last
        with transaction.atomic():
            locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
            last = get_last_commit(locked) or add_root_commit(locked)
            missing = list(locked.versions.filter(commits=None).order_by("number")[:COMMITS_PER_TRANSACTION])
            for version in missing:
                last = append_version(locked, last, version)
            if not missing and last.version is not None and is_deleted(last):
                add_rollback_commit(locked, last, last.version)


def get_last_commit(dataset: Dataset) -> Commit | None:
    return Commit.objects.filter(dataset=dataset).order_by("-position").first()


def add_root_commit(dataset: Dataset) -> Commit:
    """The first commit, which says what goes to LFS and holds nothing else."""
    git_files = add_lfs_lines({}, [])
    return add_commit(dataset, None, None, git_files, {}, dataset.created_by, dataset.created_at, f"{dataset.name}\n")


def is_deleted(commit: Commit) -> bool:
    """Whether its version is deleted: its pointers lead nowhere once the garbage is collected."""
    deleted_versions = DatasetVersion.objects.exclude(deleted_at=None)
    return commit.version_id is not None and deleted_versions.filter(pk=commit.version_id).exists()


def append_version(dataset: Dataset, last: Commit, version: DatasetVersion) -> Commit:
    by, at = version.created_by, version.created_at
    return add_version_commit(dataset, last, version, by, at, build_message(dataset, version))


def add_rollback_commit(dataset: Dataset, last: Commit, deleted_version: DatasetVersion) -> Commit:
    """Commit the files that `main` held before `deleted_version`, the version of its newest commit, was deleted.

    Where no version is left it has no files. By whom and when is what the deletion says, so it is made again the same.
    """
    commits = Commit.objects.filter(dataset=dataset, version__isnull=False, version__deleted_at=None)
    commit = commits.select_related("version").order_by("-position").first()
    version = commit.version if commit else None
    summary = f"back to v{version.number}" if version else "no files"
    parts = [
        f"{dataset.name}: {summary}, v{deleted_version.number} is deleted",
        collapse_whitespace(deleted_version.delete_reason),
    ]
    parts += [f"Manifest: sha256:{version.digest}"] if version else []
    message = "\n\n".join(part for part in parts if part) + "\n"
    return add_version_commit(
        dataset,
        last,
        version,
        deleted_version.deleted_by,
        deleted_version.deleted_at or deleted_version.created_at,
        message,
    )


def add_version_commit(
    dataset: Dataset, last: Commit, version: DatasetVersion | None, by: str, at: datetime, message: str
) -> Commit:
    """The files of the version, all by pointers, on top of `last`; what a person keeps for Git stays."""
    files, before = build_pointers(version) if version else {}, list_previous_blobs(last)
    folders = list_folders(files)
    git_files = {
        path: text
        for path, text in last.kept.items()
        if path not in folders and files.keys().isdisjoint(list_parents(path))  # a path is a file or a folder
    }
    # Where the plane wrote what stands there, the files of that commit have their lines.
    git_files = add_lfs_lines(git_files, files.keys() - before.keys() if ATTRIBUTES in git_files else files)
    return add_commit(dataset, last, version, git_files, files, by, at, message, before)


def build_message(dataset: Dataset, version: DatasetVersion) -> str:
    parts = [f"{dataset.name} v{version.number}", version.note.strip()]
    trailers = [f"Script: {collapse_whitespace(version.script)}"] if version.script else []
    trailers += [f"Job: {version.job_id}"] if version.job_id else []
    parts.append("\n".join([*trailers, f"Manifest: sha256:{version.digest}"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def add_commit(
    dataset: Dataset,
    last: Commit | None,
    version: DatasetVersion | None,
    git_files: Mapping[str, str],
    files: Mapping[str, bytes],
    by: str,
    at: datetime,
    message: str,
    before: Mapping[str, bytes] = MappingProxyType({}),
) -> Commit:
    """One commit on top of `last`, with the objects that it adds to `before`, what `last` is known to have.

    A folder in which nothing differs has the tree that it had, so it is not added.
    """
    texts = {path: text.encode() for path, text in git_files.items()} | dict(files)
    blobs = {path: GitObject("blob", data) for path, data in texts.items()}
    trees = build_trees(blobs)
    existing_blobs = set(before.values())
    differ = {path for path, data in texts.items() if before.get(path) != data} | (before.keys() - texts.keys())
    touched = list_folders(differ) | {""}
    fresh = [blob for path, blob in blobs.items() if path in differ and blob.data not in existing_blobs]
    fresh += [tree for folder, tree in trees.items() if folder in touched]
    name = re.sub(r"[<>\x00-\x1f\x7f]", "", by).strip(" .,:;\"'\\") or "plane"
    author = f"{name} <{re.sub(r'[^A-Za-z0-9._-]', '-', name)}@plane>"
    git_commit = build_commit(
        tree=trees[""].sha, before=last.sha if last else "", author=author, at=at, message=message
    )
    commit = Commit.objects.create(
        dataset=dataset,
        position=last.position + 1 if last else 0,
        sha=git_commit.sha,
        version=version,
        author=author[:200],
        authored_at=at,
        kept=dict(git_files),
    )
    Objects.objects.create(
        commit=commit,
        data=serialize_objects({git_object.name: git_object for git_object in [*fresh, git_commit]}.values()),
    )
    return commit


def list_previous_blobs(last: Commit) -> dict[str, bytes]:
    """{path: data} that is in the repository for certain: of a commit that the plane made, whose version is there.

    What a push brought is not looked into: what it has too is stored a second time, which does no harm.
    """
    if last.pack_id is not None or last.version is None:
        return {}
    return {path: text.encode() for path, text in last.kept.items()} | build_pointers(last.version)


def list_folders(paths: Iterable[str]) -> set[str]:
    """Every folder on the way to one of these paths, but the root."""
    folders = {path.rpartition("/")[0] for path in paths} - {""}
    return folders.union(*(list_parents(folder) for folder in folders))


def build_pointers(version: DatasetVersion) -> dict[str, bytes]:
    """{path: LFS pointer} of the files that Git can show: not those with a name that is its own."""
    rows = json.loads(version.manifest)["files"]
    return {
        row["path"]: build_pointer(row["sha256"], row["size"]) for row in rows if not HIDDEN_PATH.search(row["path"])
    }


def collapse_whitespace(text: str) -> str:
    return " ".join(text.split())
