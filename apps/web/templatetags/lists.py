"""What the templates of lists need beyond their table: a reader's own views, and a loop of REST calls.

Views are kept above the apps whose lists they are of, so the look-up stands here. `{% load lists %}`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from django import template
from django.http import HttpRequest, QueryDict
from django.template.context import Context
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy, pgettext

from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, build_day_filters, parse_list_query
from apps.platform.preferences.queries import list_views_of
from apps.platform.preferences.services import VIEWS_LIMIT

register = template.Library()
NUMBER = 0  # stands for the row in an address, until the loop's variable takes its place


@register.inclusion_tag("components/views.html", takes_context=True)
def views_menu(context: Context, table: ListTable) -> dict[str, Any]:
    """The menu of views: those that the list brings along, one's own, and a form to keep this one. One query."""
    request: HttpRequest = context["request"]
    actor = request.actor  # type: ignore[attr-defined]
    project = getattr(request, "project", None)
    own = list_views_of(actor, table.listing.key, project)
    now = table.view_query
    builtin = [{**view, "here": view["query"] == now} for view in table.builtin]
    mine = [{"view": view, "here": view.query == now} for view in own]
    names = [view["name"] for view in builtin if view["here"]] + [str(row["view"]) for row in mine if row["here"]]
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "table": table,
        "builtin": builtin,
        "mine": mine,
        "here": names[-1] if names else "",
        "everything": not now,
        "may_keep": actor.user_id is not None and len(own) < VIEWS_LIMIT,
        "limit": VIEWS_LIMIT,
        "slug": project.slug if project is not None else "",
        "back": request.get_full_path(),
    }


@register.simple_tag
def gallery_table() -> ListTable:
    """A list with nothing behind it, for the page that shows every component."""
    columns = [
        Column("name", gettext_lazy("Name"), str, ("name", "id")),
        Column("state", gettext_lazy("State"), str),
        Column("rows", gettext_lazy("Rows"), str, ("rows", "id"), numeric=True, down=True),
        Column("progress", gettext_lazy("Progress"), str),
        Column("note", gettext_lazy("Note"), str, default_visible=False),
    ]
    listing = Listing("gallery", tuple(columns), sort="name")
    params = QueryDict("state=running&made_after=7d&sort=-rows")
    states = [("", gettext("Every state")), ("running", gettext("Running"))]
    filters = [
        {"name": "name", "label": gettext("Name"), "value": ""},
        {"name": "state", "label": gettext("State"), "value": "running", "choices": states},
        *build_day_filters(params, "made", pgettext("day", "Created from"), gettext("Created until")),
    ]
    builtin = [build_builtin_view(gettext("Running"), state="running")]
    return ListTable(listing, parse_list_query(listing, params), params, filters=filters, builtin=builtin)


@register.inclusion_tag("components/rest_loop.html", takes_context=True)
def rest_loop(
    context: Context, method: str, name: str, ids: Iterable[Any], *, body: object = None, label: str = ""
) -> dict[str, Any]:
    """The same action for many rows from a shell: one call for each. Every part is quoted; the token is a variable.

    `name`: the REST address of one row, by its number, in the page's project if it lies in one.
    """
    request: HttpRequest = context["request"]
    project = getattr(request, "project", None)
    url = request.build_absolute_uri(reverse(name, args=[*([project.slug] if project is not None else []), NUMBER]))
    before, _zero, after = url.rpartition(f"/{NUMBER}/")
    lines = [f'curl -X {method} {shlex.quote(before + "/")}"$id"{shlex.quote("/" + after)}']
    lines.append('-H "Authorization: Bearer $TOKEN"')
    if body is not None:
        text = json.dumps(body, ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(text)}"]
    calls = "; do\n  " + " \\\n    ".join(lines) + "\ndone"
    picked = " ".join(shlex.quote(str(pk)) for pk in ids)
    return {"picked": picked, "calls": calls, "command": f"for id in {picked}{calls}", "label": label}
