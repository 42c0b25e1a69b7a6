"""The list of legal holds: its columns, and what narrows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import (
    Column,
    Listing,
    ListTable,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    read_filter_values,
)
from apps.core.policy import is_allowed
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.holds.models import Hold
from apps.platform.holds.objects import HOLD_OBJECTS
from apps.platform.holds.queries import list_holds
from apps.platform.holds.services import PROJECT_TYPE

DEFERRED_COLUMNS = (
    "manifest",
    "document",
    "columns",
    "environment",
)  # of versions and runs: megabytes that no name is made of
RELEASED, ALL = "released", "all"  # none of them: in force


def list_kind_choices() -> list[tuple[str, Any]]:
    """(object type, label) of everything that can be held."""
    labels = [(key, hold_object.label) for key, hold_object in HOLD_OBJECTS.items()]
    return [(PROJECT_TYPE, _("Entire project")), *labels]


def build_hold_getter(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: getattr(row["hold"], name)


HOLDS = Listing(
    "holds",
    (
        Column("object", gettext_lazy("What is held"), lambda row: str(row["hold"])),
        Column("reason", gettext_lazy("Why"), build_hold_getter("reason")),
        Column("by", gettext_lazy("Placed by"), build_hold_getter("placed_by")),
        Column("placed", gettext_lazy("Placed at"), build_hold_getter("placed_at"), ("id",), down=True),
        Column("released", gettext_lazy("Released by"), build_hold_getter("released_by")),
        Column("released_at", gettext_lazy("Released at"), build_hold_getter("released_at"), default_visible=False),
        Column(
            "release_reason",
            gettext_lazy("Why it was released"),
            build_hold_getter("release_reason"),
            default_visible=False,
        ),
    ),
    sort="-placed",
)


def build_holds_table(actor: Actor, project: Project, params: QueryDict) -> ListTable:
    """What is held, the newest first; holds that were released where they are asked for."""
    filters = read_filter_values(params, ("state", "kind", "q"))
    states = [("", _("In force")), (RELEASED, _("Released")), (ALL, _("All holds"))]
    kinds = [("", _("Every kind")), *list_kind_choices()]
    return build_table(
        HOLDS,
        params,
        lambda: query_holds(actor, project, params, filters),
        filters=[
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
            {"name": "kind", "label": _("Kind"), "value": filters["kind"], "choices": kinds},
            {"name": "q", "label": _("Id, reason or person"), "value": filters["q"]},
            *build_day_filters(params, "placed", _("Placed from"), _("Placed until")),
        ],
        transform_rows=lambda holds: build_hold_rows(actor, holds, project),
        builtin=[build_builtin_view(_("Released"), state=RELEASED), build_builtin_view(_("All holds"), state=ALL)],
    )


def query_holds(actor: Actor, project: Project, params: QueryDict, filters: dict[str, str]) -> QuerySet[Hold]:
    validate_choice("state", filters["state"], (RELEASED, ALL))
    validate_choice("kind", filters["kind"], (PROJECT_TYPE, *HOLD_OBJECTS))
    holds = list_holds(actor, project, all_of_them=filters["state"] in (RELEASED, ALL))
    if filters["state"] == RELEASED:
        holds = holds.exclude(released_at=None)
    if filters["kind"]:
        holds = holds.filter(object_type=filters["kind"])
    if text := filters["q"]:
        holds = holds.filter(Q(object_id__istartswith=text) | Q(reason__icontains=text) | Q(placed_by__icontains=text))
    rows: QuerySet[Hold] = filter_between_days(holds, "placed_at", params, "placed")
    return rows


def build_hold_rows(actor: Actor, holds: Sequence[Hold], project: Project) -> list[dict[str, Any]]:
    """Rows of the list: what is held by its kind, and by its name and page where it is still there and the reader may
    see it. One query for each kind that is among them."""
    keys: dict[str, set[str]] = defaultdict(set)
    for hold in holds:
        hold_object = HOLD_OBJECTS.get(hold.object_type)
        if hold_object and is_allowed(actor, hold_object.view_permission, project):
            keys[hold.object_type].add(hold.object_id)
    names = {kind: load_object_names(kind, among, project) for kind, among in keys.items()}
    return [build_hold_row(hold, names.get(hold.object_type, {}).get(hold.object_id), project) for hold in holds]


def build_hold_row(hold: Hold, name: str | None, project: Project) -> dict[str, Any]:
    hold_object = HOLD_OBJECTS.get(hold.object_type)
    address, *before = hold_object.page if hold_object and hold_object.page and name is not None else ("",)
    return {
        "hold": hold,
        "kind": dict(list_kind_choices()).get(hold.object_type, hold.object_type),
        "name": "" if name == hold.object_id else name or "",
        "url": reverse(address, args=[project.slug, *before, hold.object_id]) if address else "",
    }


def load_object_names(kind: str, keys: Collection[str], project: Project) -> dict[str, str]:
    """{key: what the object is called}, of those that the project has still."""
    hold_object = HOLD_OBJECTS[kind]
    rows = hold_object.query_rows(project).filter(pk__in=keys)
    parent = hold_object.project_path.rpartition("__")[0]
    if parent and rows.model._meta.get_field(parent).many_to_one:
        rows = rows.select_related(parent)
    rows = rows.defer(
        *(name for name in DEFERRED_COLUMNS if name in {field.name for field in rows.model._meta.concrete_fields})
    )
    return {str(row.pk): str(row) for row in rows}
