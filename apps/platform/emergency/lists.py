"""The list of emergency grants: its columns, and what narrows it."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.emergency.presenters import STATES, describe_scope, describe_status
from apps.platform.emergency.queries import list_grants
from apps.platform.emergency.states import STATUSES

GRANTS = Listing(
    "emergency-grants",
    (
        Column("user", gettext_lazy("Person"), lambda row: row.user.username),
        Column("state", gettext_lazy("State"), lambda row: row.status),
        Column("role", gettext_lazy("Role"), lambda row: row.role),
        Column("scope", gettext_lazy("Scope"), describe_scope),
        Column("reason", gettext_lazy("Reason"), lambda row: row.reason),
        Column("requested", gettext_lazy("Requested"), lambda row: row.requested_at, ("id",), down=True),
        Column("confirmed", gettext_lazy("Confirmed by"), lambda row: row.confirmed_label),
        Column("expires", gettext_lazy("Expires"), lambda row: row.expires_at),
        Column("ended", gettext_lazy("Ended by"), lambda row: row.ended_label, default_visible=False),
    ),
    sort="-requested",
)


def build_grants_table(actor: Actor, params: QueryDict) -> ListTable:
    """Grants and requests, the newest first."""
    status = read_filter_values(params, ("state",))["state"]
    choices = [("", _("Every state")), *((name, describe_status(name)) for name in STATUSES)]

    def query() -> Any:
        validate_choice("state", status, STATUSES)
        grants = list_grants(actor)
        return grants.with_status(status) if status else grants

    return build_table(
        GRANTS,
        params,
        query,
        filters=[{"name": "state", "label": _("State"), "value": status, "choices": choices}],
        builtin=[build_builtin_view(_("In force"), state="active")],
        transform_rows=add_texts,
    )


def add_texts(grants: Any) -> Any:
    rows: list[EmergencyGrant] = list(grants)
    for row in rows:
        row.status_text, row.scope_text = describe_status(row.status), describe_scope(row)  # type: ignore[attr-defined]
        row.draw_state = STATES[row.status]  # type: ignore[attr-defined]
    return rows
