"""The list of evidence runs: its columns, and what narrows it."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.site.compliance.queries import list_runs
from apps.site.compliance.states import RunState

RUNS = Listing(
    "evidence-runs",
    (
        Column("id", gettext_lazy("Run"), lambda row: row.pk, ("id",), down=True),
        Column("state", gettext_lazy("State"), lambda row: row.state),
        Column("met", gettext_lazy("Met"), lambda row: row.met, numeric=True),
        Column("partly", gettext_lazy("Partly met"), lambda row: row.partly, numeric=True),
        Column("not_met", gettext_lazy("Not met"), lambda row: row.not_met, numeric=True),
        Column("not_applicable", gettext_lazy("Not applicable"), lambda row: row.not_applicable, numeric=True),
        Column("created", gettext_lazy("Created"), lambda row: row.created_at),
        Column("by", gettext_lazy("By"), lambda row: row.requested_by),
    ),
    sort="-id",
)


def build_runs_table(actor: Actor, params: QueryDict) -> ListTable:
    """Runs, the newest first."""
    state = read_filter_values(params, ("state",))["state"]
    choices = [("", _("Every state")), *((value, str(label)) for value, label in RunState.choices)]

    def query() -> Any:
        validate_choice("state", state, RunState.values)
        runs = list_runs(actor)
        return runs.filter(state=state) if state else runs

    return build_table(
        RUNS,
        params,
        query,
        filters=[{"name": "state", "label": _("State"), "value": state, "choices": choices}],
    )
