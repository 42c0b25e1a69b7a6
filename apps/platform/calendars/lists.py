"""The list of schedules: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.platform.accounts.models import Project
from apps.platform.calendars import queries
from apps.platform.calendars.addresses import build_page_url
from apps.platform.calendars.states import ScheduleState
from apps.platform.calendars.targets import SCHEDULE_TARGETS

SCHEDULES = Listing(
    "schedules",
    (
        Column("name", gettext_lazy("Schedule"), lambda row: row["schedule"].name),
        Column("state", gettext_lazy("State"), lambda row: row["schedule"].state),
        Column("target", gettext_lazy("Submits"), lambda row: row["target_label"]),
        Column("cron", gettext_lazy("Cron expression"), lambda row: row["schedule"].cron),
        Column("next", gettext_lazy("Next due"), lambda row: row["schedule"].next_at, ("next_at", "id"), sparse=True),
        Column("last", gettext_lazy("Last outcome"), lambda row: row["last"] and row["last"].outcome),
        Column("by", gettext_lazy("By"), lambda row: row["schedule"].created_by, default_visible=False),
        Column("made", gettext_lazy("Created"), lambda row: row["schedule"].created_at, ("id",), down=True),
    ),
    sort="-made",
)


def build_schedules_table(actor: Actor, project: Project | None, params: QueryDict) -> ListTable:
    state = read_filter_values(params, ("state",))["state"]
    states = [("", _("Every state")), *((value, str(label)) for value, label in ScheduleState.choices)]
    return build_table(
        SCHEDULES,
        params,
        lambda: queries.list_schedules(actor, project, state=state),
        filters=[{"name": "state", "label": _("State"), "value": state, "choices": states}],
        transform_rows=summarize_schedules,
    )


def summarize_schedules(schedules: Sequence[Any]) -> list[dict[str, Any]]:
    last = queries.load_last_occurrences(schedules)
    return [
        {
            "schedule": schedule,
            "url": build_page_url("schedule", schedule.project, schedule.pk),
            "target_label": get_target_label(schedule.target),
            "last": last.get(schedule.pk),
        }
        for schedule in schedules
    ]


def get_target_label(key: str) -> str:
    """In the language of the page; the key itself where this plane has no such target any more."""
    return str(SCHEDULE_TARGETS[key].label) if key in SCHEDULE_TARGETS else key
