"""The list of security alarms: its columns, and what narrows it."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.site.security_alarms.queries import ALL, list_alarms
from apps.site.security_alarms.rules import RULES, Unit
from apps.site.security_alarms.states import AlarmState

ALARMS = Listing(
    "security-alarms",
    (
        Column("alarm", gettext_lazy("Alarm"), lambda row: row.rule, ("id",), down=True),
        Column("about", gettext_lazy("About"), lambda row: row.key),
        Column("events", gettext_lazy("Events"), lambda row: row.count, numeric=True),
        Column("first", gettext_lazy("First"), lambda row: row.first_at),
        Column("last", gettext_lazy("Last"), lambda row: row.last_at),
        Column("state", gettext_lazy("State"), lambda row: row.state),
        Column("by", gettext_lazy("By"), lambda row: row.acknowledged_by),
        Column("reason", gettext_lazy("Reason"), lambda row: row.reason),
        Column("id", gettext_lazy("Number"), lambda row: row.pk, default_visible=False),
    ),
    sort="-alarm",
)


def build_alarms_table(actor: Actor, params: QueryDict) -> ListTable:
    """Open alarms, the newest first; acknowledged ones where they are asked for."""
    values = read_filter_values(params, ("state", "rule", "q"))
    states = [("", _("Open")), (AlarmState.ACKNOWLEDGED, _("Acknowledged")), (ALL, _("Every state"))]
    rules = [("", _("Every rule")), *((name, str(rule.label)) for name, rule in RULES.items())]
    return build_table(
        ALARMS,
        params,
        lambda: list_alarms(actor, state=values["state"], rule=values["rule"], key=values["q"]),
        filters=[
            {"name": "state", "label": _("State"), "value": values["state"], "choices": states},
            {"name": "rule", "label": _("Rule"), "value": values["rule"], "choices": rules},
            {"name": "q", "label": _("About"), "value": values["q"]},
        ],
        transform_rows=add_labels,
    )


def add_labels(alarms: Any) -> Any:
    listed = list(alarms)
    for alarm in listed:
        rule = RULES.get(alarm.rule)
        alarm.label = rule.label if rule else alarm.rule
        alarm.unit = rule.unit.label if rule and rule.unit != Unit.EVENTS else ""
    return listed
