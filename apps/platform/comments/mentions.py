"""Mentions in the text of a comment: `@name` of a person who may see the object. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.comments.objects import get_target

MENTION = re.compile(r"@(\w[\w.@+-]{0,79})")
MAX_MENTIONS = 20  # names of one comment that are looked up
SUGGESTED = 8  # names that are offered while somebody types
PUNCTUATION = ".+-@"


def list_names(text: str) -> list[str]:
    """The names behind an @, in lower case; a full stop behind one may be of the sentence or of the name."""
    names: dict[str, None] = {}
    for match in MENTION.finditer(text):
        if match.start() and (text[match.start() - 1].isalnum() or text[match.start() - 1] in "_@"):
            continue  # an address of mail
        names[match[1].lower()] = None
        names[match[1].lower().rstrip(PUNCTUATION)] = None
        if len(names) > 2 * MAX_MENTIONS:
            break
    return [name for name in names if name]


def find_mentioned(project: Project, object_type: str, object_id: str, text: str) -> list[User]:
    """The members of the project whom the text names and who may see the object. An unknown name stays a text."""
    names = list_names(text)
    if not names:
        return []
    members = User.objects.annotate(lower=Lower("username")).filter(
        lower__in=names, is_active=True, memberships__project=project
    )
    people = list(members.distinct().order_by("pk")[:MAX_MENTIONS])
    return [person for person in people if can_see(person, project, object_type, object_id)]


def can_see(person: User, project: Project, object_type: str, object_id: str) -> bool:
    actor = build_actor_for_user(person)
    try:
        require(actor, "comment.view", project)
        get_target(actor, project, object_type, object_id)
    except PlaneError:
        return False
    return True


def suggest_people(actor: Actor, project: Project, prefix: str) -> list[User]:
    """Members of the project whose user name or name begins with `prefix`, for whoever may write a comment."""
    require(actor, "comment.write", project)
    if len(prefix) > MAX_PREFIX or "\x00" in prefix:
        return []
    matches = Q(username__istartswith=prefix) | Q(name__istartswith=prefix)
    has_access = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    cleared = Q(clearance__gte=project.security_label)
    members = User.objects.filter(matches, has_access, cleared, is_active=True, memberships__project=project)
    return list(members.distinct().order_by("username")[:SUGGESTED])


MAX_PREFIX = 80


def split_mentions(text: str, names: Iterable[str]) -> list[tuple[str, bool]]:
    """The text in pieces: (piece, whether it is the mention of one of `names`)."""
    lower_names = {name.lower() for name in names}
    pieces: list[tuple[str, bool]] = []
    place = 0
    for match in MENTION.finditer(text):
        for name in (match[1], match[1].rstrip(PUNCTUATION)):
            if name.lower() in lower_names:
                end = match.start() + 1 + len(name)
                pieces += [(text[place : match.start()], False), (text[match.start() : end], True)]
                place = end
                break
    return [*(piece for piece in pieces if piece[0]), *([(text[place:], False)] if text[place:] else [])]
