"""Federated studies by name: those that a project coordinates, and those that a site takes part in."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import F, Value
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.ml.federation.models import SiteStudy, Study
from apps.web.search.bounds import SearchBounds
from apps.web.search.hits import Hit
from apps.web.search.names import build_words_filter, list_visible
from apps.web.search.query import SearchQuery

COLUMNS = ("pk", "project_id", "name", "state", "at_site", "by", "made")


def find_studies(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    """The newest first, of either side in one query. People make few of them, so all are read."""
    if query.kind:
        return
    studies = list_visible(Study, actor, bounds).filter(build_words_filter(query, "name", exact_fields=("state",)))
    studies = studies.annotate(at_site=Value(""), by=F("created_by"), made=F("created_at"))
    rows = list_visible(SiteStudy, actor, bounds)
    rows = rows.filter(build_words_filter(query, "name", "site", exact_fields=("state",)))
    rows = rows.annotate(at_site=F("site"), by=F("imported_by"), made=F("imported_at"))
    either = studies.values_list(*COLUMNS).union(rows.values_list(*COLUMNS), all=True)
    for pk, project, name, state, site, by, _made in either.order_by("-made")[:limit]:
        slug = bounds.get_slug(project)
        page = "federation:site_study" if site else "federation:study"
        yield Hit(
            kind="study",
            title=f"{name} at {site}" if site else name,
            text=_("by %(who)s") % {"who": by},
            url=reverse(page, args=[slug, pk]),
            project=slug,
            state=state,
        )
