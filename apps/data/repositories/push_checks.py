"""Decide whether a push may move `main`: one branch, fast-forward only, past nobody's lock. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.errors import Conflict, Invalid, TooLarge
from apps.data.datasets.versions.citations import list_citations
from apps.data.repositories.access import RepositoryTarget
from apps.data.repositories.folders import MAIN, MASTER
from apps.data.repositories.models import Commit, Lock
from apps.data.repositories.trees import QuarantinedObjects
from deepseek.messages import N_, Message

if TYPE_CHECKING:
    from apps.data.repositories.push_contents import PushContents

NULL_SHA = "0" * 40
TAGS = "refs/tags/"
RENAME = Message("git branch -m master main && git fetch --prune origin && git branch -u origin/main")
MAX_COMMITS = 10_000  # of one push
MAX_CITED_LOOKUPS = 20  # versions that a refused push would drop, of which it is looked up who uses them


@dataclass(slots=True)
class Move:
    old: str  # "" where there is no branch yet
    new: str
    count: int = 0  # commits
    is_renamed: bool = False  # the client calls its branch master
    refused_tags: tuple[str, ...] = ()  # which Git refuses one by one


def check_commands(commands: Sequence[Any], *, is_empty: bool = False, is_atomic: bool = False) -> Move:
    """The one move of `main` that a push may make; Invalid or Conflict for anything else.

    Tags beside a branch do not take it with them, unless the client wants all or nothing (`is_atomic`). `master` is
    taken for `main` where the dataset has no version yet (`is_empty`): that is what `git init` calls a first branch.
    """
    branches = [each for each in commands if not each.ref.startswith(TAGS)]
    tags = tuple(each.ref.removeprefix(TAGS) for each in commands if each.ref.startswith(TAGS))
    if branches and tags and not is_atomic:
        move = check_commands(branches, is_empty=is_empty)
        move.refused_tags = tags
        return move
    if is_empty and [each.ref for each in commands] == [MASTER] and commands[0].new != NULL_SHA:
        return Move("", commands[0].new, is_renamed=True)
    for each in commands:
        if each.ref == MASTER:
            raise Invalid(
                "master is not accepted: a dataset has one branch, main, and one line of versions.",
                code="only_main",
                field="ref",
                limit=MAIN,
                hint=Message(
                    "Rename your branch: {rename}. Or push to main this once: git push origin HEAD:main.", rename=RENAME
                ),
            )
        if each.ref != MAIN:
            raise Invalid(
                "{ref} is not accepted: a dataset has one branch, main, and one line of versions.",
                ref=each.ref,
                code="only_main",
                field="ref",
                limit=MAIN,
                hint=N_("Push to it: git push origin HEAD:main. Versions are tagged in the plane."),
            )
    if len(commands) != 1:
        raise Invalid("A push moves main, once.", code="only_main", field="ref", limit=MAIN)
    each = commands[0]
    if each.new == NULL_SHA:
        raise Conflict(
            "main cannot be deleted: its versions stay.",
            code="branch_kept",
            field="ref",
            hint=N_("Nothing was changed."),
        )
    return Move("" if each.old == NULL_SHA else each.old, each.new)


def check_unpacked(objects: QuarantinedObjects) -> None:
    """Raise TooLarge for a push that unpacks to more than GIT_UNPACKED_LIMIT_BYTES, before any of it is stored."""
    limit = settings.ENV.git_unpacked_limit_bytes
    if objects.count_unpacked_bytes(limit) > limit:
        raise TooLarge(
            "The objects of this push have more than {most} bytes when they are unpacked.",
            most=limit,
            code="push_unpacks_too_large",
            field="pack",
            limit=limit,
            hint=N_(
                'Send large files by LFS: git lfs migrate import --include="*.csv"; a long history in '
                "several pushes. GIT_UNPACKED_LIMIT_BYTES sets this limit."
            ),
        )


def check_fast_forward(target: RepositoryTarget, last: Commit | None, move: Move, objects: QuarantinedObjects) -> None:
    """Raise Conflict (not_fast_forward) where the push is not on top of the newest commit; counts what it brings."""
    tip = last.sha if last else ""
    if tip and not objects.is_descendant(move.new, tip):
        raise not_fast_forward_error(target, last, objects.find_merge_base(move.new, tip))
    if move.old != tip:
        raise not_fast_forward_error(target, last, tip)
    if objects.kind(move.new) != "commit":
        raise Invalid("main must point to a commit.", code="only_main", field="ref")
    move.count = objects.count(move.new, tip)
    if move.count > MAX_COMMITS:
        raise Invalid(
            "The push has {count} commits.",
            count=move.count,
            code="too_many_commits",
            limit=MAX_COMMITS,
            hint=N_("Begin with a shorter history: git checkout --orphan."),
        )


def not_fast_forward_error(target: RepositoryTarget, last: Commit | None, fork: str) -> Conflict:
    """The refusal; where it would drop versions that something was made from, it names them."""
    base = Commit.objects.filter(dataset=target.dataset, sha=fork).values_list("position", flat=True).first()
    dropped = Commit.objects.filter(dataset=target.dataset, position__gt=-1 if base is None else base)
    dropped = dropped.exclude(version=None).select_related("version__dataset").order_by("-position")[:MAX_CITED_LOOKUPS]
    cited = [(commit.version, why) for commit in dropped if commit.version and (why := find_citation(commit))]
    if cited:
        version, why = cited[0]
        message = Message("This push would drop {version} from main, which {why} cites.", version=version, why=why)
    else:
        message = Message(
            "This push is not on top of {sha}, the newest commit of main.", sha=last.sha[:12] if last else "main"
        )
    return Conflict(
        message,
        code="not_fast_forward",
        field="main",
        hint=N_("History is never rewritten here, by force neither: git pull --rebase, then push again."),
    )


def find_citation(commit: Commit) -> str:
    """What cites the version of a commit; "" for nothing."""
    rows = list_citations(commit.version) if commit.version else []
    return f"{rows[0].kind} {rows[0].label}" if rows else ""


def check_locks(target: RepositoryTarget, contents: PushContents) -> None:
    """Raise Conflict where the push changes a path that another has locked."""
    if target.dataset is None:
        return
    for lock in Lock.objects.filter(dataset=target.dataset).order_by("path"):
        if not lock.is_of(target.actor) and lock.path in contents.changed:
            raise Conflict(
                "{lock_path} is locked by {owner}.",
                lock_path=lock.path,
                owner=lock.owner,
                code="path_locked",
                field="path",
                hint=Message("Leave it as it is, or ask {owner} to unlock it.", owner=lock.owner),
            )
