"""One search over everything that the reader may see; a dozen queries, however much there is."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from apps.web.search import digests
from apps.web.search.bounds import SearchBounds, load_bounds
from apps.web.search.hits import GROUPS, HITS_OF_ONE_KIND, HITS_PER_KIND, Hit, SearchResults, group_hits
from apps.web.search.names import FINDERS as NAME_FINDERS
from apps.web.search.query import SearchQuery, parse_query
from apps.web.search.studies import find_studies
from deepseek.messages import N_

FINDERS = {**NAME_FINDERS, "study": find_studies}
MIN_LETTERS = 2  # letters: one letter is in almost every name


def search(
    actor: Actor, text: str, *, project: Project | None = None, kind: str = "", typing: bool = False
) -> SearchResults:
    """What `text` names, in groups of five, or of fifty where one `kind` is asked for.

    `typing`: while somebody types, so what the auditor would leave a record of is left out. Invalid for a kind that
    does not exist.
    """
    policy.require_scope(actor, "project.view")
    validate_choice("kind", kind, GROUPS, N_("There is no kind {found!r}."))
    query = parse_query(text)
    if not query.number and len(query.text) < MIN_LETTERS:
        return SearchResults(text=query.text)
    limit = HITS_OF_ONE_KIND if kind else HITS_PER_KIND
    bounds = load_bounds(actor, project)
    recorded = actor.system_role is SystemRole.AUDITOR
    hits = find(actor, bounds, query, list_kinds(kind, without=("approval",) if recorded and typing else ()), limit)
    groups = [group for group in group_hits(hits, limit) if kind in ("", group.kind)]
    results = SearchResults(text=query.text, groups=groups, left_out=bounds.left_out)
    if recorded and any(group.kind == "approval" for group in groups):
        record(actor=actor, action="approval.view", after={"search": query.text})
    return results


def list_kinds(kind: str, *, without: tuple[str, ...]) -> list[str]:
    """The finders to ask; of devices and nodes one query finds both."""
    return [name for name in FINDERS if (name == kind if kind else name != "node") and name not in without]


def find(actor: Actor, bounds: SearchBounds, query: SearchQuery, kinds: list[str], limit: int) -> list[Hit]:
    """By digest first; by name where nothing has that digest, and first of all where it may be a word."""
    by_digest = digests.find(actor, bounds, query, limit) if query.digest and not query.is_word else []
    if by_digest:
        return by_digest
    hits = [hit for kind in kinds for hit in FINDERS[kind](actor, bounds, query, limit + 1)]
    if not hits and query.is_word:
        return digests.find(actor, bounds, query, limit)
    return hits
