"""Authenticate a request by its token, and resolve the project and dataset of its address."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache
from django.http import HttpRequest

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import NotFound, Unauthenticated
from apps.data.datasets.models import Dataset
from apps.data.datasets.versions.registration import check_name
from apps.platform.accounts.authentication import find_token, get_token_actor
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from deepseek.messages import N_, Message

ANNOUNCED_SECONDS = 3600  # between the beginning of a push and the last of its LFS batches before the next
HINT = Message("Make a token under Account, and give it as the password; any name will do.")


@dataclass(frozen=True, slots=True)
class RepositoryTarget:
    """`dataset` is None where the project has none of this name, and a push may make it."""

    actor: Actor
    project: Project
    name: str
    dataset: Dataset | None

    def require_dataset(self) -> Dataset:
        """The dataset, or NotFound."""
        if self.dataset is None:
            raise NotFound(
                "This project has no dataset {name!r}, or you may not see it.",
                name=self.name[:60],
                field="dataset",
                hint=N_("Push to make it, or look at the list of datasets."),
            )
        return self.dataset


def authenticate_token(request: HttpRequest) -> Actor:
    """The actor of the token in the Authorization header; also `request.actor`. A browser's session counts for nothing
    here: no page asks these addresses.
    """
    token = find_token(request)
    if token is None:
        raise Unauthenticated("Send a token.", hint=HINT)
    actor = get_token_actor(request, token)
    request.actor = actor  # type: ignore[attr-defined]
    return actor


def resolve_target(actor: Actor, slug: str, name: str) -> RepositoryTarget:
    """The place of the address; NotFound for a project that the token is not of."""
    project = get_project(actor, slug)
    dataset = Dataset.objects.visible_to(actor).filter(project=project, name=name).first()
    return RepositoryTarget(actor, project, name, dataset)


def get_readable_target(actor: Actor, slug: str, name: str) -> RepositoryTarget:
    target = resolve_target(actor, slug, name)
    policy.require(actor, "dataset.view", target.project)
    target.require_dataset()
    return target


def get_writable_target(actor: Actor, slug: str, name: str) -> RepositoryTarget:
    """A dataset that is there may get a version; one that is not may be made, and only under a name that can be one."""
    target = resolve_target(actor, slug, name)
    policy.require(actor, "dataset.add_version", target.project)
    if target.dataset is None:
        policy.require(actor, "dataset.create", target.project)
        check_name(name)
    return target


def announce_push(target: RepositoryTarget) -> None:
    """Note that this token has begun a push that is to make the dataset: `git push` asks for the references first."""
    cache.set(build_announcement_key(target), True, ANNOUNCED_SECONDS)


def require_announced(target: RepositoryTarget) -> None:
    """Raise NotFound for an upload to a dataset that is not there, unless a push by this token is about to make it.

    `git lfs push` alone makes none: its bytes would belong to nothing.
    """
    if target.dataset is not None:
        return
    if not cache.get(build_announcement_key(target)):
        raise NotFound(
            "This project has no dataset {place_name!r}, so nothing was uploaded.",
            place_name=target.name[:60],
            field="dataset",
            hint=N_("Look at its name in the remote's address. git push makes a dataset, git lfs push does not."),
        )
    announce_push(target)  # a long upload comes in many batches


def build_announcement_key(target: RepositoryTarget) -> str:
    who = f"t{target.actor.token_id}" if target.actor.token_id else target.actor.label
    return f"git-push:{target.project.pk}:{target.name}:{sha256_hex(who)}"
