"""Security alarms, the thresholds that people set, and how far the audit stream has been read."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.site.security_alarms.states import ALARM_MOVES, AlarmState


class RuleSetting(models.Model):
    """What a security administrator set for a rule; without a row the defaults of rules.py count."""

    rule = models.CharField(max_length=40, primary_key=True)  # a key of RULES
    threshold = models.PositiveIntegerField()
    minutes = models.PositiveIntegerField()
    is_enabled = models.BooleanField()

    def __str__(self) -> str:
        return self.rule


class SecurityAlarmQuerySet(models.QuerySet["SecurityAlarm"]):
    def visible_to(self, actor: Actor) -> SecurityAlarmQuerySet:
        return self if is_allowed(actor, "security_alarm.view") else self.none()


class SecurityAlarm(models.Model):
    """So many events of a rule within its time; while it is open, further ones are counted in it."""

    MOVES = ALARM_MOVES

    rule = models.CharField(max_length=40)
    key = models.CharField(max_length=200, blank=True)  # whom it is about, as the rule counts
    state = models.CharField(max_length=12, choices=AlarmState.choices, default=AlarmState.OPEN)
    count = models.PositiveIntegerField()  # in the unit of the rule
    first_seq = models.BigIntegerField()  # of the audit records
    last_seq = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    acknowledged_by = models.CharField(max_length=200, blank=True)
    acknowledged_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=400, blank=True)

    objects = SecurityAlarmQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rule", "key"], condition=Q(state="open"), name="security_alarm_open")
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.key}"


class StreamPosition(models.Model):
    """The one row that an evaluation locks. `windows`: {rule: {key: [[seq, seconds since 1970, weight], ...]}}."""

    seq = models.BigIntegerField()
    windows = models.JSONField(default=dict)

    def __str__(self) -> str:
        return str(self.seq)
