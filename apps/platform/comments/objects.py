"""What can be commented on. The apps of these objects register them; those above this app do so in their `ready`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.registry import Registry
from apps.platform.accounts.models import Project
from deepseek.messages import N_


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentObject:
    """`find_object` returns the object of this id that the actor may see in the project, else None."""

    label: Promise
    view_permission: str
    find_object: Callable[[Actor, Project, str], Any | None]
    build_path: Callable[[Project, Any], str]  # of the page that shows its comments


COMMENT_OBJECTS: Registry[CommentObject] = Registry("COMMENT_OBJECTS")


@dataclass(frozen=True, slots=True)
class CommentTarget:
    """An object that somebody may see, as comments name it."""

    type: str
    id: str
    title: str
    path: str


def get_target(actor: Actor, project: Project, object_type: str, object_id: str) -> CommentTarget:
    """The object that is commented on. Invalid for a type that has no comments; NotFound where there is no such object
    or `actor` may not see it."""
    kind = COMMENT_OBJECTS.get(object_type)
    if kind is None:
        raise Invalid(
            "{kind!r} is nothing that has comments.",
            kind=object_type[:40],
            field="object_type",
            limit=", ".join(COMMENT_OBJECTS),
            hint=N_("Take one of these."),
        )
    is_readable = len(object_id) <= MAX_ID_LENGTH and "\x00" not in object_id
    if not is_readable or not policy.is_allowed(actor, kind.view_permission, project):
        raise build_missing_error(object_id)
    obj = kind.find_object(actor, project, object_id)
    if obj is None:
        raise build_missing_error(object_id)
    return CommentTarget(object_type, object_id, str(obj), kind.build_path(project, obj))


MAX_ID_LENGTH = 80


def build_missing_error(object_id: str) -> NotFound:
    return NotFound(
        "The project has no {object_id!r}, or you may not see it.", object_id=object_id[:60], field="object_id"
    )


def parse_key(text: str) -> int | None:
    """A number that can be a key of a table; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_KEY_DIGITS else None


MAX_KEY_DIGITS = 19
