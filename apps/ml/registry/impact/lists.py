"""The list of what would be affected by an object: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.core.errors import Invalid, NotFound
from apps.core.lists.listing import Column, Listing, build_builtin_view, read_filter_values
from apps.core.lists.memory_lists import build_table_in_memory
from apps.core.request_values import validate_choice
from apps.ml.registry.impact.queries import (
    ALIAS,
    MAX_EDGES,
    MAX_NEAREST_EDGES,
    Affected,
    Impact,
    find_affected,
    get_page_address,
)
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from apps.platform.lineage.ends import END_TYPES, check_end
from apps.platform.lineage.queries import GraphNode, find_end
from apps.platform.lineage.steps import get_node_url, get_type_label
from deepseek.messages import N_


def get_field(name: str) -> Callable[[Affected], Any]:
    return lambda one: getattr(one, name)


def build_column(key: str, label: Any, value: Callable[[Affected], Any], **more: Any) -> Column:
    """A column that the list can be ordered by."""
    return Column(key, label, value, (key,), **more)


AFFECTED = Listing(
    "affected",
    (
        build_column("name", gettext_lazy("Object"), lambda one: one.label or one.id[:12]),
        build_column("kind", gettext_lazy("Kind"), get_field("kind")),
        build_column("hops", gettext_lazy("Steps away"), get_field("hops"), numeric=True),
        build_column("since", gettext_lazy("Linked at"), get_field("since"), down=True),
        build_column("production", gettext_lazy("In production"), get_field("in_production"), down=True),
        Column("digest", gettext_lazy("Digest"), get_field("digest")),
        Column("id", gettext_lazy("Id"), get_field("id"), default_visible=False),
    ),
    sort="hops",
)
TYPES = (*END_TYPES, ALIAS)


def filter_affected(objects: list[Affected], kind: str, production: str) -> list[Affected]:
    """Those of one type, and those in production; Invalid for a type that there is not."""
    validate_choice("kind", kind, TYPES, N_("There is no type {found!r}."))
    return [item for item in objects if (not kind or item.type == kind) and (not production or item.in_production)]


def asks_for_all(params: QueryDict) -> bool:
    """Whether the nearest would be a wrong answer: to what narrows the list or orders it otherwise, and to a file."""
    return any(params.get(name) for name in ("kind", "production", "reach", "format")) or params.get(
        "sort", AFFECTED.sort
    ) not in ("", AFFECTED.sort)


@require_safe
def show_affected(request: HttpRequest, project: str, type: str, id: str) -> HttpResponseBase:
    """/p/<slug>/lineage/<type>/<id>/affected"""
    actor, where = get_project_context(request, project)
    try:
        check_end(type, id)
    except Invalid as error:
        raise NotFound(error.message, field=error.field) from error
    filters = read_filter_values(request.GET, ("kind", "production", "reach"))
    show_all = asks_for_all(request.GET)
    impact: Impact = find_affected(actor, where, type, id, max_edges=MAX_EDGES if show_all else MAX_NEAREST_EDGES)
    choices = [(item, _("Alias") if item == ALIAS else get_type_label(item)) for item in TYPES]
    table = build_table_in_memory(
        AFFECTED,
        request.GET,
        lambda: filter_affected(impact.objects, filters["kind"], filters["production"]),
        key=get_field("key"),
        filters=[
            {
                "name": "kind",
                "label": _("Kind"),
                "value": filters["kind"],
                "choices": [("", _("Every kind")), *choices],
            },
            {
                "name": "production",
                "label": _("In production"),
                "value": filters["production"],
                "choices": [("", _("In production or not")), ("1", _("In production"))],
            },
            {
                "name": "reach",
                "label": _("Reach"),
                "value": filters["reach"],
                "choices": [("", _("The nearest")), ("all", _("Everything"))],
            },
        ],
        builtin=[
            build_builtin_view(_("In production"), production="1"),
            build_builtin_view(_("Model versions"), kind="model_version"),
        ],
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    end = find_end(actor, where, (type, id))
    label = (end.label if end else "") or (id[:12] if len(id) > 12 else f"#{id}")
    node = GraphNode(type, id, "", label, 0)
    context = {
        **table.build_context(),
        "nav": "data",
        "rows": [{"one": item, "url": get_page_address(item, where.slug)} for item in table.rows],
        "impact": impact,
        "whole": show_all,
        "type": type,
        "id": id,
        "label": label,
        "kind": get_type_label(type),
        "url": get_node_url(node, where.slug),
    }
    return render(request, "registry/affected.html", context, status=table.status)
