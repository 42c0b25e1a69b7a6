"""Monitors of models in use, what they found in each window, and the alarms that follow."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.fleet.monitoring.states import (
    ALARM_MOVES,
    MONITOR_MOVES,
    AlarmState,
    Cause,
    Certainty,
    Correction,
    DriftVerdict,
    Measure,
    MonitorState,
    Rule,
    Verdict,
)
from apps.ml.observations.models import ObservationSource
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.accounts.models import ONE_LINE, Project


class MonitorQuerySet(models.QuerySet["Monitor"]):
    def visible_to(self, actor: Actor) -> MonitorQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Monitor(models.Model):
    """A rule about what a model answers, looked at once an hour. Its row is the lock of its windows and alarms."""

    MOVES = MONITOR_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="monitors", db_index=False)  # the constraint's
    name = models.CharField(max_length=60, validators=[ONE_LINE])
    model = models.ForeignKey(Model, models.PROTECT, related_name="monitors")
    source = models.ForeignKey(ObservationSource, models.PROTECT, null=True, related_name="+", db_index=False)
    group = models.CharField(max_length=50, blank=True)  # of devices, whose sources are watched; "": all of the model
    metric = models.CharField(max_length=10, choices=Measure.choices)
    rule = models.CharField(max_length=10, choices=Rule.choices, default=Rule.RELATIVE)
    limit = models.FloatField(default=0.05)
    certainty = models.CharField(max_length=10, choices=Certainty.choices, default=Certainty.VALUE)
    reference = models.FloatField(null=True)  # null: what the version that answered was registered with
    window_hours = models.PositiveIntegerField(default=24)
    lag_hours = models.PositiveIntegerField(default=0)  # labels are waited for: a window ends so long ago
    min_count = models.PositiveIntegerField(default=100)  # labelled answers below which nothing is said
    silence_hours = models.PositiveIntegerField(null=True)  # null: silence is no cause
    cooldown_hours = models.PositiveIntegerField(default=24)  # after an alarm closed, until the next of its cause
    watches_inputs = models.BooleanField(default=True)  # features against the training data, and the stream of errors
    drift_alpha = models.FloatField(default=0.01)  # error probability of all features of a window, and of the risk
    drift_correction = models.CharField(max_length=20, choices=Correction.choices, default=Correction.HOLM)
    state = models.CharField(max_length=10, choices=MonitorState.choices, default=MonitorState.ACTIVE)
    watched_from = models.DateTimeField()  # created or resumed: silence is counted from here
    evaluated_until = models.DateTimeField()  # the end of the last window that was evaluated
    next_at = models.DateTimeField(null=True)  # null while it is paused
    grant = models.JSONField()  # of its owner, as an actor record with scopes
    created_by = models.CharField(max_length=200)  # its owner
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MonitorQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="monitor_name")]
        indexes = [
            # The dispatcher looks for these every second.
            models.Index(fields=["next_at"], name="monitor_due", condition=Q(state="active")),
            models.Index(fields=["project", "-id"], name="monitor_recent"),
        ]

    def __str__(self) -> str:
        return self.name


class Window(models.Model):
    """What a monitor found in the hours before `until`. Written once, never changed: labels that come later count in
    later windows."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="windows", db_index=False)
    until = models.DateTimeField()
    verdict = models.CharField(max_length=12, choices=Verdict.choices)
    predictions = models.BigIntegerField()
    count = models.BigIntegerField()  # of labelled answers that could be compared
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    reference = models.FloatField(null=True)
    line = models.FloatField(null=True)  # beyond it the value is worse
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+", db_index=False)  # busiest

    class Meta:
        constraints = [models.UniqueConstraint(fields=["monitor", "until"], name="monitor_window_once")]

    def __str__(self) -> str:
        return f"{self.monitor_id} {self.until:%Y-%m-%dT%H} {self.verdict}"


class DriftWindow(models.Model):
    """How the features of the hours before `until` compare with the training data. Written once, never changed."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="drift_windows", db_index=False)
    until = models.DateTimeField()
    verdict = models.CharField(max_length=10, choices=DriftVerdict.choices)  # of the feature that drifted most
    rows = models.BigIntegerField()
    drifted = models.IntegerField()  # features that moved or changed
    features = models.JSONField()  # FeatureDrift.to_dict of the engine, the most drifted first
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["monitor", "until"], name="drift_window_once")]

    def __str__(self) -> str:
        return f"{self.monitor_id} {self.until:%Y-%m-%dT%H} {self.verdict}"


class ErrorStream(models.Model):
    """The states of the detectors on the errors of a monitor, after the hours before `until`: each hour counts once."""

    monitor = models.OneToOneField(Monitor, models.CASCADE, related_name="error_stream")
    until = models.DateTimeField()
    adwin = models.JSONField(null=True)
    risk = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"{self.monitor_id} {self.until:%Y-%m-%dT%H}"


class AlarmQuerySet(models.QuerySet["Alarm"]):
    def visible_to(self, actor: Actor) -> AlarmQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Alarm(models.Model):
    """That a monitor's rule is broken: opened once per monitor and cause, until a person has read it and it is over."""

    MOVES = ALARM_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="alarms", db_index=False)
    monitor = models.ForeignKey(Monitor, models.PROTECT, related_name="alarms", db_index=False)
    cause = models.CharField(max_length=10, choices=Cause.choices)
    state = models.CharField(max_length=12, choices=AlarmState.choices, default=AlarmState.OPEN)
    evidence = models.JSONField()  # evidence.build_*: what was seen when it was opened
    since = models.DateTimeField()  # the end of the first window of the row of bad ones, or the last answer's hour
    windows = models.PositiveIntegerField(default=1)  # bad ones since it was opened
    last_bad_at = models.DateTimeField()  # the end of the last of them
    opened_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=500, blank=True)  # of whoever acknowledged it
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=200, blank=True)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["monitor", "cause"], condition=~Q(state="closed"), name="alarm_open_once")
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="alarm_recent"),
            models.Index(fields=["project", "state", "-id"], name="alarm_by_state"),
            models.Index(fields=["monitor", "-id"], name="alarm_of_monitor"),
        ]

    def __str__(self) -> str:
        return f"alarm {self.pk}"


# At the end: they name the tables above.
from apps.fleet.monitoring.retraining.models import Retraining, RetrainingPlan  # noqa: E402

__all__ = ["Alarm", "Monitor", "Retraining", "RetrainingPlan", "Window"]
