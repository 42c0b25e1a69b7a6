"""Every write of repositories: a push becomes a version or is refused as a whole; LFS locks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, PlaneError, Refused
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.expectation_gate import check_expectations
from apps.data.datasets.quality.profile_jobs import measure_added
from apps.data.datasets.quality.required_expectations import CheckedTable
from apps.data.datasets.versions.legacy_paths import LegacyPaths
from apps.data.datasets.versions.manifest import check_path
from apps.data.datasets.versions.registration import add_version, ensure_dataset
from apps.data.repositories import history
from apps.data.repositories.access import RepositoryTarget
from apps.data.repositories.lfs_config import check_lfs_config
from apps.data.repositories.models import Commit, Lock
from apps.data.repositories.push_checks import (
    RENAME,
    Move,
    check_commands,
    check_fast_forward,
    check_locks,
    check_unpacked,
)
from apps.data.repositories.push_contents import read_contents
from apps.data.repositories.trees import CommitHead, QuarantinedObjects
from apps.platform.artifacts.garbage import rollback_uploads
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import store_file
from apps.platform.audit import services as audit
from apps.platform.audit.models import Result
from deepseek.messages import N_

log = logging.getLogger(__name__)

PACK = "application/x-git-packed-objects"
MAX_TAGS_NAMED = 10  # names of refused tags in one line
NOTE_LIMIT = 500  # characters of a commit's message that a version keeps


@dataclass(frozen=True, slots=True)
class AcceptedPush:
    """The version that a push has become, or was already, and what the person who pushed reads."""

    version: DatasetVersion
    lines: list[str] = field(default_factory=list)
    is_renamed: bool = False  # master was taken for main, so the folder has a branch that the rows do not know


def accept_push(
    *,
    target: RepositoryTarget,
    commands: Sequence[Any],
    objects: QuarantinedObjects,
    lfs_address: str,
    is_atomic: bool = False,
) -> AcceptedPush:
    """Make the tip of a push a version of its dataset; call it while the push lies in quarantine. `lfs_address`: where
    the LFS server of this repository is, as the client reached it. `is_atomic`: the client wants all or nothing.

    Its bytes are stored before the one transaction that makes dataset, version and commit. Whatever is wrong is a
    PlaneError, recorded; then no row is made, and what this push alone has stored goes again.
    """
    policy.require(target.actor, "dataset.add_version", target.project)
    new_artifacts: list[Artifact] = []
    began = timezone.now()
    try:
        return store_push(target, commands, objects, new_artifacts, lfs_address, is_atomic)
    except PlaneError as error:
        discard_artifacts(target, new_artifacts, began)
        moved = [f"{each.ref} {each.old[:12]} {each.new[:12]}" for each in commands[:5]]
        audit.record(
            actor=target.actor,
            action="repository.push",
            obj=target.dataset,
            object_type="dataset",
            project_id=target.project.pk,
            result=Result.REFUSED,
            reason=error.message[:500],
            after={"code": error.code, "dataset": target.name, "references": moved},
        )
        raise


def discard_artifacts(target: RepositoryTarget, artifacts: Sequence[Artifact], began: datetime) -> None:
    """What a refused push has stored goes again; where it cannot, the refusal stands and garbage is collected later."""
    try:
        rollback_uploads(actor=target.actor, project=target.project, artifacts=artifacts, since=began)
    except (PlaneError, DatabaseError, OSError):
        log.warning("what a refused push stored waits for the collection of garbage", exc_info=True)


def store_push(
    target: RepositoryTarget,
    commands: Sequence[Any],
    objects: QuarantinedObjects,
    new_artifacts: list[Artifact],
    lfs_address: str,
    is_atomic: bool,
) -> AcceptedPush:
    last = history.ensure_commits(target.dataset) if target.dataset else None
    is_empty = last is None or (last.position == 0 and last.version_id is None)
    move = check_commands(commands, is_empty=is_empty, is_atomic=is_atomic)
    check_unpacked(objects)
    base = find_base(last, move, objects)
    check_fast_forward(target, base, move, objects)
    check_lfs_config(objects, move.new, base.sha if base else "", lfs_address)
    contents = read_contents(target, base, move, objects, new_artifacts)
    check_locks(target, contents)
    checked = check_expectations(target.actor, target.project, target.name, contents.files)
    head = objects.head(move.new)
    pack = objects.pack()
    pack_artifact = store_file(actor=target.actor, project=target.project, path=pack, media_type=PACK) if pack else None
    new_artifacts += [pack_artifact] if pack_artifact else []
    with transaction.atomic():
        dataset = ensure_dataset(actor=target.actor, project=target.project, name=target.name)
        locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
        require_unchanged(locked, last)
        version, is_new = add_version(
            actor=target.actor,
            dataset=dataset,
            files=contents.files,
            media_type=contents.media_type,
            rows=contents.rows,
            columns=contents.columns,
            script="git push",
            params={"commit": move.new, "author": head.author[:200], "branch": "main"},
            note=head.message[:NOTE_LIMIT],
            has_commit=True,
            checked=checked,
            old_paths=contents.old_paths,
            part_rows=contents.part_rows,
        )
        commit = Commit.objects.create(
            dataset=dataset,
            position=last.position + 1 if last else 0,
            sha=move.new,
            version=version,
            author=head.author[:200],
            authored_at=datetime.fromtimestamp(head.at, UTC),
            kept=contents.kept,
            pack=pack_artifact,
        )
        record_push(target.actor, dataset, commit, version, head, move, is_new)
        if is_new:
            measure_added(actor=target.actor, version=version)
    lines = [describe_version(version, is_new, len(contents.files)), *contents.warnings]
    return AcceptedPush(
        version, [*lines, *(describe_expectations(checked) if checked else []), *describe_move(move)], move.is_renamed
    )


def find_base(last: Commit | None, move: Move, objects: QuarantinedObjects) -> Commit | None:
    """The commit that a push must be on top of. A master that knows nothing of the plane's first commit, which holds no
    version, begins a history of its own.
    """
    if last is None or not move.is_renamed:
        return last
    if not objects.is_descendant(move.new, last.sha):
        return None
    move.old = last.sha
    return last


def require_unchanged(dataset: Dataset, last: Commit | None) -> None:
    """Nobody has added a version since the push was looked at; Conflict otherwise."""
    now = history.get_last_commit(dataset)
    if (now.sha if now else "") != (last.sha if last else "") or dataset.versions.filter(commits=None).exists():
        raise Conflict(
            "{dataset_name} has got a version meanwhile.",
            dataset_name=dataset.name,
            code="not_fast_forward",
            field="main",
            hint=N_("Take it in (git pull --rebase), then push again."),
        )


def record_push(
    actor: Actor, dataset: Dataset, commit: Commit, version: DatasetVersion, head: CommitHead, move: Move, is_new: bool
) -> None:
    audit.record(
        actor=actor,
        action="repository.push",
        obj=dataset,
        before={"commit": move.old},
        after={
            "commit": commit.sha,
            "author": head.author[:200],
            "version": version.number,
            "is_new": is_new,
            "commits": move.count,
        },
        digests={"manifest": version.digest, **({"pack": commit.pack_id} if commit.pack_id else {})},
    )


def describe_version(version: DatasetVersion, is_new: bool, files: int) -> str:
    rows = f", {version.rows:,} rows" if version.rows is not None else ""
    many = f"{files:,} files" if files != 1 else "1 file"
    return f"{version}: {many}{rows}" if is_new else f"These files are {version} already; no version was added."


def describe_move(move: Move) -> list[str]:
    lines = []
    if move.is_renamed:
        lines.append(f"Your branch master was taken for main, the one branch of a dataset. Rename it: {RENAME}")
    if move.refused_tags:
        names = ", ".join(move.refused_tags[:MAX_TAGS_NAMED]) + (
            ", ..." if len(move.refused_tags) > MAX_TAGS_NAMED else ""
        )
        lines.append(f"Not accepted: the tags of this push ({names}). Versions are tagged in the plane.")
    return lines


def describe_expectations(checked: CheckedTable) -> list[str]:
    total = len(checked.expectations)
    return [
        f"{total - checked.unmet} of {total} expectations hold.",
        *(f"Warning: {warning}" for warning in checked.warnings),
    ]


# -- locks ----------------------------------------------------------------------------------------------------------
class Locked(Conflict):
    """Somebody has locked the path already."""

    code = "path_locked"

    def __init__(self, lock: Lock) -> None:
        super().__init__(
            f"{lock.path} is locked by {lock.owner} since {lock.locked_at:%Y-%m-%d %H:%M} UTC.",
            field="path",
            hint="Ask them, or let an approver of the project unlock it.",
        )
        self.lock = lock


def lock_path(*, actor: Actor, dataset: Dataset, path: str) -> Lock:
    """Keep others from changing this path of `main`; it need not exist yet. Raises Locked, Invalid."""
    policy.require(actor, "dataset.lock", dataset)
    check_path(path, "path", LegacyPaths(dataset.project_id, dataset.name))
    try:
        with transaction.atomic():
            lock = Lock.objects.create(
                dataset=dataset,
                path=path,
                owner=actor.label[:200],
                user_id=actor.user_id,
                service_account_id=actor.service_account_id,
            )
            audit.record(actor=actor, action="repository.lock", obj=dataset, after={"path": path, "lock": lock.pk})
    except IntegrityError:
        raise Locked(Lock.objects.get(dataset=dataset, path=path)) from None
    return lock


def unlock_path(*, actor: Actor, lock: Lock, force: bool = False) -> Lock:
    """Let a path go: one's own, or with `force` and the right to it anybody's. It may be gone already: then no more is.

    Raises Refused for a foreign lock.
    """
    if lock.is_of(actor):
        policy.require(actor, "dataset.lock", lock)
    else:
        policy.require(actor, "dataset.force_unlock", lock)
    if not lock.is_of(actor) and not force:
        raise Refused(
            "The lock is of {owner}.",
            owner=lock.owner,
            code="lock_of_another",
            action="dataset.force_unlock",
            project_id=lock.project_id,
            object_type="dataset",
            object_id=lock.dataset_id,
            field="force",
            hint=N_("git lfs unlock --force takes it away."),
        )
    with transaction.atomic():
        removed, _ = Lock.objects.filter(pk=lock.pk).delete()
        if removed:
            audit.record(
                actor=actor,
                action="repository.unlock",
                obj=lock.dataset,
                before={"path": lock.path, "owner": lock.owner},
                after={"forced": not lock.is_of(actor)},
            )
    return lock
