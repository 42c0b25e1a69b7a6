"""Evaluate the rules over new audit records, set their thresholds, acknowledge alarms."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, F, TextField, Value, When
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import validate_choice
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.services import change_state, record
from apps.site.security_alarms.models import RuleSetting, SecurityAlarm, StreamPosition
from apps.site.security_alarms.notices import notify_raised, settle_raised
from apps.site.security_alarms.rules import RULES, WEIGHED, Event, Unit
from apps.site.security_alarms.states import AlarmState
from deepseek.messages import N_

RECORDS_PER_TRANSACTION = 10_000
MAX_KEYS = 10_000  # of a rule that are counted at once: invented account names must not fill the row
MAX_THRESHOLD = 10_000
ENTRIES_PER_WINDOW = 500  # of a rule that weighs: 10,000 GB are half a million records of downloads
MAX_MINUTES = 1440
Windows = dict[str, dict[str, list[list[float]]]]
BODY = Case(When(action__in=WEIGHED, then=F("body")), default=Value(""), output_field=TextField())


def evaluate_rules(*, actor: Actor) -> int:
    """Count the sealed audit records since the last run; the number of alarms that were raised.

    Position, counts and alarms are written in one transaction, so nothing is counted twice or lost across a kill. The
    first run begins at the end of the trail.
    """
    policy.require(actor, "security_alarm.evaluate")
    head = ChainHead.objects.filter(pk=1).values_list("seq", flat=True).first() or 0
    StreamPosition.objects.get_or_create(pk=1, defaults={"seq": head})
    raised = 0
    while True:
        with transaction.atomic():
            position = StreamPosition.objects.select_for_update().get(pk=1)
            rows = AuditRecord.objects.filter(seq__gt=position.seq).order_by("seq")[:RECORDS_PER_TRANSACTION]
            events = [Event(*row) for row in rows.values_list(*Event._fields[:-1], BODY)]
            if not events:
                return raised
            raised += count_events(actor, position.windows, events)
            position.seq = events[-1].seq
            position.save()
        if len(events) < RECORDS_PER_TRANSACTION:
            return raised


def count_events(actor: Actor, windows: Windows, events: list[Event]) -> int:
    """Add the events to the windows, in place, and raise what reaches its threshold; how many alarms are new."""
    settings = get_rule_settings()
    raised = 0
    for name, rule in RULES.items():
        setting = settings[name]
        if not setting.is_enabled:
            windows.pop(name, None)
            continue
        span = setting.minutes * 60
        counted = windows.setdefault(name, {})
        for event in events:
            key = rule.find_key(event)
            if key is None:
                continue
            seconds = event.at.timestamp()
            recent = [entry for entry in counted.get(key, []) if entry[1] > seconds - span]
            add_event(recent, [event.seq, seconds, rule.weigh(event)], span if rule.unit != Unit.EVENTS else 0)
            total = sum(entry[2] if len(entry) > 2 else 1.0 for entry in recent)
            if total >= setting.threshold:
                raised += raise_alarm(actor, name, key, recent, event, count=round(total))
                recent = []
            counted[key] = recent
        latest = events[-1].at.timestamp()
        alive = {key: entries for key, entries in counted.items() if entries and entries[-1][1] > latest - span}
        windows[name] = dict(sorted(alive.items(), key=lambda item: item[1][-1][1])[-MAX_KEYS:])
    return raised


def add_event(entries: list[list[float]], entry: list[float], span: int) -> None:
    """Append the entry, or add its weight to the newest one where both lie close in a window of `span` seconds.

    Each event goes through all entries, and one row stores them. With a span of 0 each entry stands for itself.
    """
    if entries and span and entry[1] - entries[-1][1] < span / ENTRIES_PER_WINDOW:
        entries[-1][2] += entry[2]
    else:
        entries.append(entry)


def raise_alarm(actor: Actor, rule: str, key: str, entries: list[list[float]], event: Event, *, count: int) -> bool:
    """Raise an alarm; while one of this rule and key is open, add `count` to it. True for a new one."""
    key, last_seq, at = key[:200], event.seq, event.at
    # In one statement: an alarm that somebody acknowledges just now takes no event that nobody has seen.
    open_alarms = SecurityAlarm.objects.filter(rule=rule, key=key, state=AlarmState.OPEN)
    if open_alarms.update(count=F("count") + count, last_seq=last_seq, last_at=at):
        return False
    alarm = SecurityAlarm.objects.create(
        rule=rule,
        key=key,
        count=count,
        first_seq=int(entries[0][0]),
        last_seq=last_seq,
        first_at=datetime.fromtimestamp(entries[0][1], at.tzinfo),
        last_at=at,
    )
    record(
        actor=actor, action="security_alarm.raise", obj=alarm, after={"rule": rule, "key": key, "count": alarm.count}
    )
    notify_raised(alarm)
    return True


def acknowledge_alarm(*, actor: Actor, pk: int, reason: str) -> SecurityAlarm:
    """A person has looked at it. Raises NotFound, Invalid `reason_missing`, StaleState where another was first."""
    policy.require(actor, "security_alarm.acknowledge")
    alarm = SecurityAlarm.objects.visible_to(actor).filter(pk=pk).first()
    if alarm is None:
        raise NotFound("There is no such alarm.", field="alarm")
    reason = reason.strip()
    if not reason or len(reason) > 400:
        raise Invalid(
            "A reason of 1 to 400 characters is needed.",
            code="reason_missing",
            field="reason",
            limit=400,
            hint=N_("Say what you found."),
        )
    with transaction.atomic():
        change_state(
            alarm,
            AlarmState.ACKNOWLEDGED,
            actor=actor,
            reason=reason,
            action="security_alarm.acknowledge",
            acknowledged_by=actor.label[:200],
            acknowledged_at=timezone.now(),
        )
        SecurityAlarm.objects.filter(pk=alarm.pk).update(reason=reason)
        settle_raised(alarm)
    return alarm


def set_rule(*, actor: Actor, rule: str, threshold: int, minutes: int, is_enabled: bool) -> RuleSetting:
    """Set from how many events within how many minutes on a rule raises an alarm. Raises Invalid."""
    policy.require(actor, "security_alarm.set_rule")
    validate_choice("rule", rule, RULES, required=True)
    for field, value, limit in (("threshold", threshold, MAX_THRESHOLD), ("minutes", minutes, MAX_MINUTES)):
        if not 1 <= value <= limit:
            raise Invalid(
                "{found} is not between 1 and {most}.",
                found=value,
                most=limit,
                code="out_of_range",
                field=field,
                limit=limit,
            )
    before = get_rule_settings()[rule]
    values: dict[str, Any] = {"threshold": threshold, "minutes": minutes, "is_enabled": is_enabled}
    with transaction.atomic():
        setting, _created = RuleSetting.objects.update_or_create(rule=rule, defaults=values)
        record(
            actor=actor,
            action="security_alarm.set_rule",
            obj=setting,
            before={name: getattr(before, name) for name in values},
            after=values,
        )
    return setting


def get_rule_settings() -> dict[str, RuleSetting]:
    """The setting of each rule, saved or by default."""
    saved = {setting.rule: setting for setting in RuleSetting.objects.all()}
    return {
        name: saved.get(name)
        or RuleSetting(rule=name, threshold=rule.threshold, minutes=rule.minutes, is_enabled=rule.is_enabled)
        for name, rule in RULES.items()
    }
