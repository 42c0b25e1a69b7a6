"""The list of sweeps: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.lists.listing import (
    Column,
    Listing,
    build_builtin_view,
    build_table,
    mark_list_view,
    read_filter_values,
)
from apps.ml.sweeps import queries
from apps.ml.sweeps.checks import list_tunable_kinds
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.schemas import load_request
from apps.ml.sweeps.states import OPEN_TRIALS, SweepState, TrialState
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from apps.platform.jobs.kinds import KINDS

Row = dict[str, Any]  # {sweep, made, trials, pruned, failed, metric}


def read_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["sweep"], name)


def read_key(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


SWEEPS = Listing(
    "sweeps",
    (
        Column("sweep", gettext_lazy("Sweep"), read_field("pk"), ("id",), down=True),
        Column("name", gettext_lazy("Name"), read_field("name")),
        Column("state", gettext_lazy("State"), read_field("state"), ("state", "-id")),
        Column("kind", gettext_lazy("Kind"), read_field("kind")),
        Column("metric", gettext_lazy("Objective"), read_key("metric")),
        Column("done", gettext_lazy("Trials"), read_key("done")),
        Column("pruned", gettext_lazy("Pruned"), read_key("pruned"), numeric=True),
        Column("failed", gettext_lazy("Failed"), read_key("failed"), numeric=True),
        Column("by", gettext_lazy("By"), read_field("requester"), ("requester", "-id")),
        Column("made", gettext_lazy("Created"), read_field("created_at")),
        Column("ended", gettext_lazy("Ended"), read_field("ended_at"), default_visible=False),
    ),
    sort="-sweep",
)


@mark_list_view(SWEEPS.key)
@require_safe
def show_sweeps(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/sweeps: newest first, narrowed by the query."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, queries.FILTERS)
    table = build_table(
        SWEEPS,
        request.GET,
        lambda: queries.list_sweeps(actor, where, **filters),
        filters=build_filter_bar(filters),
        transform_rows=add_counts,
        builtin=list_builtin_views(actor),
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "jobs",
        "running": queries.list_sweeps(actor, where, state=SweepState.RUNNING).count(),
        "may_submit": policy.is_allowed(actor, "sweep.submit", where),
    }
    return render(request, "sweeps/list.html", context, status=table.status)


def add_counts(sweeps: Sequence[Sweep]) -> list[Row]:
    """The rows of a page with how far each is; one query more."""
    counts = queries.count_trials(sweep.pk for sweep in sweeps)
    rows = []
    for sweep in sweeps:
        settings, by_state = load_request(sweep).settings, counts[sweep.pk]
        rows.append(
            {
                "sweep": sweep,
                "metric": settings.metric,
                "trials": settings.trials,
                "done": by_state.total() - sum(by_state[state] for state in OPEN_TRIALS),
                "pruned": by_state[TrialState.PRUNED],
                "failed": by_state[TrialState.FAILED],
            }
        )
    return rows


def build_filter_bar(filters: dict[str, str]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), *((value, str(word)) for value, word in SweepState.choices)]
    kinds = [("", _("Every kind")), *((key, str(KINDS[key].label)) for key in list_tunable_kinds())]
    return [
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
        {"name": "kind", "label": _("Kind"), "value": filters["kind"], "choices": kinds},
        {"name": "requester", "label": _("Who"), "value": filters["requester"]},
    ]


def list_builtin_views(actor: Actor) -> list[dict[str, Any]]:
    return [
        build_builtin_view(_("Running"), state=SweepState.RUNNING.value),
        build_builtin_view(_("Mine"), requester=actor.label),
    ]
