"""The list of legal holds: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import Project
from apps.actors import Actor
from apps.holds.models import Hold
from apps.holds.reads import list_holds
from apps.holds.services import WHOLE
from apps.listing import Column, Listing, Table, between_days, day_filters, known, table_of, texts, view_of

RELEASED, ALL = "released", "all"  # none of them: in force


def of(name: str) -> Callable[[Hold], Any]:
    return lambda hold: getattr(hold, name)


HOLDS = Listing(
    "holds",
    (
        Column("object", gettext_lazy("What is held"), str),
        Column("reason", gettext_lazy("Why"), of("reason")),
        Column("by", gettext_lazy("Placed by"), of("placed_by")),
        Column("placed", gettext_lazy("Placed at"), of("placed_at"), ("id",), down=True),
        Column("released", gettext_lazy("Released by"), of("released_by")),
        Column("released_at", gettext_lazy("Released at"), of("released_at"), shown=False),
        Column("release_reason", gettext_lazy("Why it was released"), of("release_reason"), shown=False),
    ),
    sort="-placed",
)


def holds_table(actor: Actor, project: Project, params: QueryDict) -> Table:
    """What is held, the newest first; holds that were released where they are asked for."""
    asked = texts(params, ("state", "kind", "q"))
    states = [("", _("In force")), (RELEASED, _("Released")), (ALL, _("All holds"))]
    kinds = [("", _("Every kind")), *((kind, kind) for kind in (WHOLE, *settings.HOLD_OBJECTS))]
    return table_of(
        HOLDS,
        params,
        lambda: found_holds(actor, project, params, asked),
        filters=[
            {"name": "state", "label": _("State"), "value": asked["state"], "choices": states},
            {"name": "kind", "label": _("Kind"), "value": asked["kind"], "choices": kinds},
            {"name": "q", "label": _("Id, reason or person"), "value": asked["q"]},
            *day_filters(params, "placed", _("Placed from"), _("Placed until")),
        ],
        builtin=[view_of(_("Released"), state=RELEASED), view_of(_("All holds"), state=ALL)],
    )


def found_holds(actor: Actor, project: Project, params: QueryDict, asked: dict[str, str]) -> QuerySet[Hold]:
    known("state", asked["state"], (RELEASED, ALL))
    known("kind", asked["kind"], (WHOLE, *settings.HOLD_OBJECTS))
    found = list_holds(actor, project, all_of_them=asked["state"] in (RELEASED, ALL))
    if asked["state"] == RELEASED:
        found = found.exclude(released_at=None)
    if asked["kind"]:
        found = found.filter(object_type=asked["kind"])
    if text := asked["q"]:
        found = found.filter(Q(object_id__istartswith=text) | Q(reason__icontains=text) | Q(placed_by__icontains=text))
    rows: QuerySet[Hold] = between_days(found, "placed_at", params, "placed")
    return rows
