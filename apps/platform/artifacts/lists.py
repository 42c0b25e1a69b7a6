"""The list of what a collection of garbage would take: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view
from apps.core.lists.memory_lists import build_table_in_memory
from apps.core.request_values import validate_choice
from apps.platform.artifacts.garbage import Garbage
from deepseek.messages import N_

AGE = "7d"  # as the command
UNCITED, UNNAMED = "uncited", "unnamed"
WHY = {UNCITED: gettext_lazy("Nothing cites it"), UNNAMED: gettext_lazy("No artifact names it")}


def get_reason(garbage: Garbage) -> str:
    """The word of the command."""
    return UNCITED if garbage.known else UNNAMED


def get_garbage_attribute(name: str) -> Callable[[Garbage], Any]:
    return lambda one: getattr(one, name)


GARBAGE = Listing(
    "garbage",
    (
        Column("digest", gettext_lazy("Digest"), get_garbage_attribute("digest"), ("digest",)),
        Column("size", gettext_lazy("Size"), get_garbage_attribute("size"), ("size",), numeric=True, down=True),
        Column("why", gettext_lazy("Why"), get_reason, ("why",)),
    ),
    sort="digest",
)


def build_garbage_table(garbage: list[Garbage], params: QueryDict, *, older_than: str, why: str) -> ListTable:
    """Those of the entries that fit the filters."""
    ages = [("1h", _("1 hour")), ("1d", _("1 day")), ("", _("7 days")), ("30d", _("30 days"))]
    older_than = "" if older_than == AGE else older_than  # what nobody has asked for narrows nothing
    if older_than not in dict(ages):
        ages.append((older_than, older_than))
    return build_table_in_memory(
        GARBAGE,
        params,
        lambda: filter_by_reason(garbage, why),
        key=get_garbage_attribute("digest"),
        filters=[
            {
                "name": "why",
                "label": _("Why"),
                "value": why,
                "choices": [("", _("Whatever the reason")), *WHY.items()],
            },
            {"name": "older_than", "label": _("Untouched for"), "value": older_than, "choices": ages},
        ],
        builtin=[build_builtin_view(_("The largest first"), sort="-size")],
    )


def filter_by_reason(garbage: list[Garbage], why: str) -> list[Garbage]:
    """Those that are garbage for this reason; Invalid for one that there is not."""
    validate_choice("why", why, WHY, N_("There is no reason {found!r}."))
    return [item for item in garbage if not why or get_reason(item) == why]
