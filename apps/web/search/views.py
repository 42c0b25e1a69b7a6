"""/search: one field for everything. As a page, and while somebody types as a list under the field (htmx)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project, get_visible_projects
from apps.web.search.bounds import ATTRIBUTES_READ_DIVISOR, MAX_ROWS_READ
from apps.web.search.commands import list_commands
from apps.web.search.finders import search as find
from apps.web.search.hits import HITS_OF_ONE_KIND, Group, SearchResults
from apps.web.search.query import MAX_LETTERS

MAX_PROJECTS_NAMED = 12  # of the projects in whose names was not read
# Kind -> the list's address and the name of its filter, where a list can be filtered by what was typed.
LISTS = {
    "job": ("jobs:list", "name"),
    "pipeline": ("pipelines:list", "name"),
    "run": ("experiments:list", "name"),
    "dataset": ("datasets:list", "name"),
    "model": ("registry:list", "name"),
    "node": ("nodes:list", "q"),
}


@require_safe
def palette(request: HttpRequest) -> HttpResponse:
    """What the command palette offers for the text so far; without htmx the page of the search."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    ask = request.GET.get
    text = " ".join(ask("q", "").replace("\x00", "").split())[:MAX_LETTERS]
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{reverse('search')}?{urlencode({'q': text})}")
    projects = get_visible_projects(request)
    here = next((project for project in projects if project.slug == ask("in", "")), None)
    results = find(actor, text, typing=True) if text else SearchResults()
    commands = list_commands(actor, projects, text.split(), here=here)
    context = {"commands": commands, "found": results, "rows": build_rows(results, None, "")}
    return render(request, "search/commands.html", context)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Results by kind; what was named exactly by its number, id or digest is gone to at once."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    ask = request.GET.get
    project = get_project(actor, ask("in", "")) if ask("in") else None
    typing = bool(request.htmx)  # type: ignore[attr-defined]
    results = find(actor, ask("q", ""), project=project, kind=ask("kind", ""), typing=typing)
    context = {"found": results, "search_text": results.text, "rows": build_rows(results, project, ask("kind", ""))}
    if typing:
        return render(request, "search/suggestions.html", context)
    if results.only_exact and not ask("kind") and not ask("all"):
        return redirect(results.only_exact.url)
    call = f"{reverse('api-search')}?{urlencode({'q': results.text})}"
    context |= {
        "call": call,
        "within": project,
        "kind": ask("kind", ""),
        "read": MAX_ROWS_READ,
        "most": HITS_OF_ONE_KIND,
    }
    context |= {"read_said": MAX_ROWS_READ // ATTRIBUTES_READ_DIVISOR, "left_shown": MAX_PROJECTS_NAMED}
    return render(request, "search/search.html", {"nav": "", **context})


def build_rows(results: SearchResults, project: Project | None, kind: str) -> list[dict[str, Any]]:
    return [
        {"group": group, "more_url": build_more_url(results.text, group, project, kind)} for group in results.groups
    ]


def build_more_url(text: str, group: Group, project: Project | None, kind: str) -> str:
    """The list of this kind, filtered, where all that was found is in one project; else this kind alone."""
    slugs = {hit.project for hit in group.hits}
    name, key = LISTS.get(group.kind, ("", ""))
    # What a tag, a param or an alias found is not in the list of those that are called so.
    called_so = group.kind not in ("run", "model") or all(text.lower() in hit.title.lower() for hit in group.hits)
    if name and called_so and len(slugs) == 1 and (group.kind == "node" or slugs != {""}):
        slug = next(iter(slugs))
        return f"{reverse(name, args=[slug] if slug else [])}?{urlencode({key: text})}"
    if kind or not group.more:
        return ""
    more = {"q": text, "kind": group.kind} | ({"in": project.slug} if project else {})
    return f"{reverse('search')}?{urlencode(more)}"
