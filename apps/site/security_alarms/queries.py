"""Security alarms, limited to who may see them."""

from __future__ import annotations

from typing import Any, NamedTuple

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.site.security_alarms.models import SecurityAlarm, SecurityAlarmQuerySet
from apps.site.security_alarms.rules import RULES, Unit
from apps.site.security_alarms.services import get_rule_settings
from apps.site.security_alarms.states import AlarmState

ALL = "all"


class RuleStatus(NamedTuple):
    """A rule and from when on it raises an alarm."""

    name: str
    label: Any  # lazily translated, as the next
    description: Any
    threshold: int
    minutes: int
    is_enabled: bool
    unit: str

    @property
    def unit_label(self) -> str:
        return str(Unit(self.unit).label)


def list_alarms(actor: Actor, *, state: str = "", rule: str = "", key: str = "") -> SecurityAlarmQuerySet:
    """Alarms of a state (empty: open; `all`) and rule, whose key has this part. Raises Invalid for another value."""
    policy.require(actor, "security_alarm.view")
    validate_choice("state", state, (*AlarmState.values, ALL))
    validate_choice("rule", rule, RULES)
    alarms = SecurityAlarm.objects.visible_to(actor)
    if state != ALL:
        alarms = alarms.filter(state=state or AlarmState.OPEN)
    if rule:
        alarms = alarms.filter(rule=rule)
    return alarms.filter(key__icontains=key) if key else alarms


def get_alarm(actor: Actor, pk: int) -> SecurityAlarm:
    policy.require(actor, "security_alarm.view")
    alarm = SecurityAlarm.objects.visible_to(actor).filter(pk=pk).first()
    if alarm is None:
        raise NotFound("There is no such alarm.", field="alarm")
    return alarm


def list_rules(actor: Actor) -> list[RuleStatus]:
    """Every rule with its setting."""
    policy.require(actor, "security_alarm.view")
    return [
        RuleStatus(
            name,
            RULES[name].label,
            RULES[name].description,
            setting.threshold,
            setting.minutes,
            setting.is_enabled,
            RULES[name].unit.value,
        )
        for name, setting in get_rule_settings().items()
    ]
