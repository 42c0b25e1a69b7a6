"""Plans of retraining and retrainings, as REST gives and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.messages import translate_message
from apps.fleet.monitoring.models import Monitor, Retraining, RetrainingPlan
from apps.fleet.monitoring.retraining.states import DataMode
from apps.fleet.monitoring.services.retraining_plans import RETRAINING_CAUSES

CAUSES_HELP = "Of alarms that start one."
BUDGET_HELP = "Retrainings that may begin within seven days."
MODE_HELP = "append: after the rows that the model was trained on; replace: instead of them."
ROWS_HELP = "Labelled answers below which nothing is trained."
WAIT_HELP = "For so many labels, from the alarm on."
DATASET_HELP = "Whose newest version is the fresh data, for images and texts; empty: answers with labels."
SHARE_HELP = "The newest part of the labelled answers: evaluated on, not trained on."


class RetrainingPlanSerializer(serializers.ModelSerializer[RetrainingPlan]):
    causes = serializers.ListField(child=serializers.ChoiceField(RETRAINING_CAUSES))

    dataset = serializers.CharField(source="dataset.name", default="", help_text=DATASET_HELP)

    class Meta:
        model = RetrainingPlan
        fields = [
            "causes",
            "weekly_budget",
            "mode",
            "min_rows",
            "wait_hours",
            "fresh_share",
            "dataset",
            "set_by",
            "set_at",
        ]
        read_only_fields = fields


class RetrainingPlanBody(serializers.Serializer[Any]):
    """What is left out stays, or is as in a first plan: drop, 1 a week, append, 100 rows, 24 hours, 0.25."""

    causes = serializers.ListField(
        child=serializers.ChoiceField(RETRAINING_CAUSES), required=False, help_text=CAUSES_HELP
    )
    weekly_budget = serializers.IntegerField(required=False, help_text=BUDGET_HELP)
    mode = serializers.ChoiceField(DataMode.choices, required=False, help_text=MODE_HELP)
    min_rows = serializers.IntegerField(required=False, help_text=ROWS_HELP)
    wait_hours = serializers.IntegerField(required=False, help_text=WAIT_HELP)
    fresh_share = serializers.FloatField(required=False, help_text=SHARE_HELP)
    dataset = serializers.CharField(required=False, allow_blank=True, max_length=50, help_text=DATASET_HELP)


class RetrainingSerializer(serializers.ModelSerializer[Retraining]):
    alarm = serializers.IntegerField(source="alarm_id")
    monitor = serializers.IntegerField(source="monitor_id")
    reason = serializers.SerializerMethodField(help_text="Why it failed, was not started or was not approved.")
    former = serializers.IntegerField(source="former.number", default=None, allow_null=True)
    version = serializers.IntegerField(source="version.number", default=None, allow_null=True)
    job = serializers.IntegerField(
        source="data_job_id", allow_null=True, help_text="That made the data of observations."
    )
    pipeline = serializers.IntegerField(source="pipeline_id", allow_null=True)
    approval = serializers.IntegerField(source="approval_id", allow_null=True)
    dataset = serializers.CharField(source="data.dataset.name", default=None, allow_null=True)
    dataset_version = serializers.IntegerField(source="data.number", default=None, allow_null=True)

    class Meta:
        model = Retraining
        fields = [
            "id",
            "alarm",
            "monitor",
            "state",
            "reason",
            "since",
            "until",
            "former",
            "job",
            "dataset",
            "dataset_version",
            "pipeline",
            "version",
            "approval",
            "facts",
            "created_at",
            "ended_at",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "facts": {"help_text": "Of both versions on every set, once they were evaluated: part of the approval's."},
            "since": {"help_text": "Answers from then on are its data."},
        }

    def get_reason(self, retraining: Retraining) -> str:
        return translate_message(retraining.state_reason)


def find_plan(monitor: Monitor) -> RetrainingPlan | None:
    """The plan of a monitor that was read with it."""
    return getattr(monitor, "retraining_plan", None)
