"""The list of rollouts, and of the devices of one."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_safe

from apps.core.errors import Invalid
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.policy import is_allowed
from apps.core.request_values import parse_int
from apps.fleet.rollouts import presenters, queries
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.states import RolloutState, Stage
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

MAX_POSITION = 1000
MEMBER_FILTERS = ("wave", "stage", "code")

ROLLOUTS = Listing(
    "rollouts",
    (
        Column("name", pgettext_lazy("fleet", "Rollout"), lambda row: row["name"], ("id",), down=True),
        Column("state", gettext_lazy("State"), lambda row: row["rollout"].state),
        Column("wave", gettext_lazy("Wave"), lambda row: row["wave"]),
        Column("installed", gettext_lazy("Installed"), lambda row: row["installed"], numeric=True),
        Column("failed", gettext_lazy("Failed"), lambda row: row["failed"], numeric=True),
        Column("devices", gettext_lazy("Devices"), lambda row: row["devices"], numeric=True),
        Column("by", gettext_lazy("By"), lambda row: row["rollout"].created_by),
        Column("created", gettext_lazy("Created"), lambda row: row["rollout"].created_at),
    ),
    sort="-name",
)
# In the order of the indexes, whichever filters there are: (rollout, stage, rank), (wave, stage, rank).
MEMBERS = Listing(
    "rollout-devices",
    (
        Column("device", pgettext_lazy("fleet", "Device"), lambda row: row["device"].name),
        Column("stage", gettext_lazy("Stage"), lambda row: row["member"].stage, ("stage", "rank")),
        Column("wave", gettext_lazy("Wave"), lambda row: row["wave"], numeric=True),
        Column("code", gettext_lazy("Reason"), lambda row: row["member"].code),
        Column("before", gettext_lazy("Before"), lambda row: row["before"]),
        Column("architecture", gettext_lazy("Architecture"), lambda row: row["member"].architecture),
        Column("stratum", gettext_lazy("Stratum"), lambda row: row["member"].stratum, default_visible=False),
        Column("attempts", gettext_lazy("Attempts"), lambda row: row["member"].attempts, numeric=True),
        Column("installed", gettext_lazy("Installed"), lambda row: row["member"].installed_at),
    ),
    sort="stage",
)


@mark_list_view(ROLLOUTS.key)
@require_safe
def show_rollouts(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/rollouts: the newest first."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, queries.FILTERS)
    states = [("", _("Every state")), *((value, str(word)) for value, word in RolloutState.choices)]
    table = build_table(
        ROLLOUTS,
        request.GET,
        lambda: queries.list_rollouts(actor, where, **filters),
        filters=[
            {"name": "model", "label": _("Model"), "value": filters["model"]},
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
        ],
        transform_rows=presenters.summarize_rollouts,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "rollouts",
        "may_create": is_allowed(actor, "rollout.create", where),
    }
    return render(request, "rollouts/list.html", context, status=table.status)


@mark_list_view(MEMBERS.key)
@require_safe
def show_members(request: HttpRequest, project: str, rollout: int) -> HttpResponseBase:
    """/p/<slug>/rollouts/<number>/devices."""
    actor, where = get_project_context(request, project)
    row = queries.get_rollout(actor, where, rollout)
    filters = read_filter_values(request.GET, MEMBER_FILTERS)
    waves = list(row.waves.all())
    table = build_table(
        MEMBERS,
        request.GET,
        lambda: queries.list_members(
            actor, row, stage=filters["stage"], wave=parse_position(filters["wave"]), code=filters["code"]
        ),
        filters=build_member_filters(row, waves, filters),
        transform_rows=presenters.summarize_members,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {**table.build_context(), "nav": "rollouts", "rollout": row}
    return render(request, "rollouts/devices.html", context, status=table.status)


def build_member_filters(rollout: Rollout, waves: list[Any], filters: dict[str, str]) -> list[dict[str, Any]]:
    stages = [("", _("Every stage")), *((value, str(word)) for value, word in Stage.choices)]
    numbers = [(str(wave.position), _("Wave %(number)s") % {"number": wave.position + 1}) for wave in waves]
    return [
        {"name": "code", "label": _("Reason"), "value": filters["code"]},
        {"name": "stage", "label": _("Stage"), "value": filters["stage"], "choices": stages},
        {"name": "wave", "label": _("Wave"), "value": filters["wave"], "choices": [("", _("Every wave")), *numbers]},
    ]


def parse_position(text: str) -> int | None:
    """The position of a wave, from 0. Raises Invalid."""
    number = parse_int(text, 0, MAX_POSITION) if text else None
    if text and number is None:
        raise Invalid("wave is {text!r}.", text=text[:20], field="wave", limit="a position, from 0")
    return number
