"""The list of snapshots: its columns, and what narrows it."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.site.snapshots.presenters import describe_drill
from apps.site.snapshots.queries import list_snapshots
from apps.site.snapshots.states import SnapshotState

SNAPSHOTS = Listing(
    "snapshots",
    (
        Column("id", gettext_lazy("Snapshot"), lambda row: row.pk, ("id",), down=True),
        Column("state", gettext_lazy("State"), lambda row: row.state),
        Column("made", gettext_lazy("Data as of"), lambda row: row.made_at),
        Column("size", gettext_lazy("Size"), lambda row: row.total_bytes, numeric=True),
        Column("added", gettext_lazy("New in repository"), lambda row: row.added_bytes, numeric=True),
        Column("verified", gettext_lazy("Verified"), lambda row: row.verified_at),
        Column("drill", gettext_lazy("Restore drill"), describe_drill),
        Column("destination", gettext_lazy("Destination"), lambda row: row.destination),
        Column("by", gettext_lazy("By"), lambda row: row.requested_by, default_visible=False),
    ),
    sort="-id",
)


def build_snapshots_table(actor: Actor, params: QueryDict) -> ListTable:
    """Snapshots, the newest first."""
    state = read_filter_values(params, ("state",))["state"]
    choices = [("", _("Every state")), *((value, str(label)) for value, label in SnapshotState.choices)]

    def query() -> Any:
        validate_choice("state", state, SnapshotState.values)
        snapshots = list_snapshots(actor)
        return snapshots.filter(state=state) if state else snapshots

    return build_table(
        SNAPSHOTS,
        params,
        query,
        filters=[{"name": "state", "label": _("State"), "value": state, "choices": choices}],
    )
