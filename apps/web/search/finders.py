"""One search over everything that the reader may see; a dozen queries, however much there is."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import Invalid
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from apps.web.search import digests
from apps.web.search.bounds import Places, places_of
from apps.web.search.hits import GROUPS, SHOWN, SHOWN_ALONE, Found, Hit, grouped
from apps.web.search.names import FINDERS
from apps.web.search.query import Asked, read

LEAST = 2  # letters: one letter is in almost every name


def search(actor: Actor, text: str, *, project: Project | None = None, kind: str = "", typing: bool = False) -> Found:
    """What `text` names, in groups of five, or of fifty where one `kind` is asked for.

    `typing`: while somebody types, so what the auditor would leave a record of is left out. Invalid for a kind that
    does not exist.
    """
    policy.require_scope(actor, "project.view")
    if kind and kind not in GROUPS:
        raise Invalid("There is no kind {kind!r}.", kind=kind[:40], field="kind", limit=", ".join(GROUPS))
    asked = read(text)
    if not asked.number and len(asked.text) < LEAST:
        return Found(text=asked.text)
    limit = SHOWN_ALONE if kind else SHOWN
    places = places_of(actor, project)
    recorded = actor.system_role is SystemRole.AUDITOR
    hits = find(actor, places, asked, kinds_of(kind, without=("approval",) if recorded and typing else ()), limit)
    groups = [group for group in grouped(hits, limit) if kind in ("", group.kind)]
    found = Found(text=asked.text, groups=groups, left_out=places.left_out)
    if recorded and any(group.kind == "approval" for group in groups):
        record(actor=actor, action="approval.view", after={"search": asked.text})
    return found


def kinds_of(kind: str, *, without: tuple[str, ...]) -> list[str]:
    return [each for each in FINDERS if kind in ("", each) and each not in without]


def find(actor: Actor, places: Places, asked: Asked, kinds: list[str], limit: int) -> list[Hit]:
    """By digest first; by name where nothing has that digest, and first of all where it may be a word."""
    by_digest = digests.find(actor, places, asked, limit) if asked.digest and not asked.is_word else []
    if by_digest:
        return by_digest
    hits = [hit for kind in kinds for hit in FINDERS[kind](actor, places, asked, limit + 1)]
    if not hits and asked.is_word:
        return digests.find(actor, places, asked, limit)
    return hits
