"""The list of one's notices: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, build_table, read_filter_values
from apps.core.messages import translate_message
from apps.platform.notices import queries
from apps.platform.notices.kinds import NOTICE_KINDS
from apps.platform.notices.models import Notice

UNREAD, ALL = "unread", "all"


def get_kind_label(kind: str) -> str:
    """The kind in the language of the page; its key where this plane no longer has it."""
    return str(NOTICE_KINDS[kind].label) if kind in NOTICE_KINDS else kind


NOTICES = Listing(
    "notices",
    (
        Column("notice", gettext_lazy("Notice"), lambda row: translate_message(row.message)),
        Column("kind", gettext_lazy("Kind"), lambda row: get_kind_label(row.kind)),
        Column("project", gettext_lazy("Project"), lambda row: row.project.slug if row.project else ""),
        Column("at", gettext_lazy("Received"), lambda row: row.created_at, ("id",), down=True),
        Column("read", gettext_lazy("Read"), lambda row: row.read_at, default_visible=False),
    ),
    sort="-at",
)


def build_notices_table(actor: Actor, params: QueryDict, show: str) -> ListTable:
    kind = read_filter_values(params, ("kind",))["kind"]
    kinds = sorted((key, str(value.label)) for key, value in NOTICE_KINDS.items())
    return build_table(
        NOTICES,
        params,
        lambda: queries.list_notices(actor, unread=show == UNREAD, kind=kind),
        filters=[
            {"name": "kind", "label": _("Kind"), "value": kind, "choices": [("", _("Every kind")), *kinds]},
        ],
        transform_rows=add_texts,
        builtin=[build_builtin_view(_("Unread"), show=UNREAD)],
    )


def add_texts(notices: Sequence[Any]) -> Sequence[Any]:
    """Put the text and the name of its kind beside each notice, in the language of the page."""
    rows: Sequence[Notice] = notices
    for row in rows:
        row.text = translate_message(row.message)  # type: ignore[attr-defined]
        row.kind_label = get_kind_label(row.kind)  # type: ignore[attr-defined]
    return rows
