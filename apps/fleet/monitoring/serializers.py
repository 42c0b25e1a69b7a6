"""How the API shows monitors, windows and alarms, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.fleet.monitoring.models import Alarm, DriftWindow, Monitor, Window
from apps.fleet.monitoring.retraining.serializers import RetrainingPlanSerializer, RetrainingSerializer
from apps.fleet.monitoring.states import Certainty, Correction, Measure, Rule

LIMIT_HELP = "Worse by more than so much of the reference (relative), or than so much (absolute) is an alarm."
REFERENCE_HELP = "null: what the version that answers was registered with."
LAG_HELP = "Labels are waited for so long: a window ends so many hours ago."
ALPHA_HELP = "Error probability of all features of a window together, and of the bound on the risk."
SILENCE_HELP = "No answer for so many hours is an alarm; null: it is none."


class MonitorSerializer(serializers.ModelSerializer[Monitor]):
    model = serializers.CharField(source="model.name")
    source = serializers.CharField(source="source.name", default=None, allow_null=True)
    owner = serializers.CharField(source="created_by", help_text="Who created or changed it last.")
    retraining = RetrainingPlanSerializer(
        source="retraining_plan", default=None, allow_null=True, help_text="What follows an alarm; null: nothing does."
    )

    class Meta:
        model = Monitor
        fields = [
            "id",
            "name",
            "model",
            "source",
            "group",
            "metric",
            "rule",
            "limit",
            "certainty",
            "reference",
            "window_hours",
            "lag_hours",
            "min_count",
            "silence_hours",
            "cooldown_hours",
            "watches_inputs",
            "drift_alpha",
            "drift_correction",
            "retraining",
            "state",
            "evaluated_until",
            "next_at",
            "owner",
            "created_at",
        ]
        read_only_fields = fields


class WindowSerializer(serializers.ModelSerializer[Window]):
    version = serializers.IntegerField(
        source="version.number", default=None, allow_null=True, help_text="With the most labelled answers."
    )

    class Meta:
        model = Window
        fields = [
            "until",
            "verdict",
            "predictions",
            "count",
            "value",
            "low",
            "high",
            "reference",
            "line",
            "version",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "count": {"help_text": "Labelled answers that could be compared."},
            "line": {"help_text": "Beyond it the value is worse."},
        }


class DriftWindowSerializer(serializers.ModelSerializer[DriftWindow]):
    version = serializers.IntegerField(
        source="version.number", default=None, allow_null=True, help_text="With the most rows."
    )

    class Meta:
        model = DriftWindow
        fields = ["until", "verdict", "rows", "drifted", "features", "version"]
        read_only_fields = fields
        extra_kwargs = {"features": {"help_text": "The most drifted first, each with its tests."}}


class AlarmSerializer(serializers.ModelSerializer[Alarm]):
    monitor = serializers.IntegerField(source="monitor_id")
    monitor_name = serializers.CharField(source="monitor.name")
    model = serializers.CharField(source="monitor.model.name")
    retraining_state = serializers.CharField(
        source="retraining.state", default=None, allow_null=True, help_text="Of what it had trained again; or null."
    )

    class Meta:
        model = Alarm
        fields = [
            "id",
            "monitor",
            "monitor_name",
            "model",
            "cause",
            "state",
            "since",
            "windows",
            "last_bad_at",
            "opened_at",
            "acknowledged_at",
            "acknowledged_by",
            "reason",
            "retraining_state",
            "closed_at",
            "closed_by",
        ]
        read_only_fields = fields
        extra_kwargs = {"windows": {"help_text": "Bad windows since it was opened."}}


class AlarmDetailSerializer(AlarmSerializer):
    retraining = RetrainingSerializer(default=None, allow_null=True)

    class Meta(AlarmSerializer.Meta):
        fields = [*AlarmSerializer.Meta.fields, "evidence", "retraining"]
        read_only_fields = fields


class MonitorRuleBody(serializers.Serializer[Any]):
    """What may change."""

    name = serializers.CharField(max_length=60, required=False, help_text="Unique in the project.")
    rule = serializers.ChoiceField(Rule.choices, required=False)
    limit = serializers.FloatField(required=False, help_text=LIMIT_HELP)
    certainty = serializers.ChoiceField(Certainty.choices, required=False, help_text="What lies beyond the line.")
    reference = serializers.FloatField(required=False, allow_null=True, help_text=REFERENCE_HELP)
    window_hours = serializers.IntegerField(required=False)
    lag_hours = serializers.IntegerField(required=False, help_text=LAG_HELP)
    min_count = serializers.IntegerField(required=False, help_text="Labelled answers below which nothing is said.")
    silence_hours = serializers.IntegerField(required=False, allow_null=True, help_text=SILENCE_HELP)
    cooldown_hours = serializers.IntegerField(required=False, help_text="After an alarm was closed.")
    watches_inputs = serializers.BooleanField(
        required=False, help_text="Features against the training data, and the stream of errors."
    )
    drift_alpha = serializers.FloatField(required=False, help_text=ALPHA_HELP)
    drift_correction = serializers.ChoiceField(
        Correction.choices, required=False, help_text="Of the p-values of many features."
    )


class NewMonitorBody(MonitorRuleBody):
    name = serializers.CharField(max_length=60, help_text="Unique in the project.")
    model = serializers.CharField(max_length=256)
    metric = serializers.ChoiceField(Measure.choices)
    source = serializers.CharField(max_length=50, required=False, allow_blank=True, help_text="Of observations.")
    group = serializers.CharField(max_length=50, required=False, allow_blank=True, help_text="Of devices.")


class MonitorReasonBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class AcknowledgeBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, help_text="What was found, or what is done about it.")
