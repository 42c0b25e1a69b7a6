"""How the API shows schedules, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.calendars.models import Occurrence, Schedule
from apps.platform.calendars.queries import list_coming_times
from apps.platform.calendars.recurrence import MAX_CRON_LENGTH
from apps.platform.calendars.states import CatchUp, Overlap

CRON_HELP = "Five fields, minute to day of week, or @hourly, @daily, @weekly, @monthly, @yearly."
ZONE_HELP = "An IANA name, in which `cron` is read: Europe/Berlin. Where clocks change, as Debian's cron does."


class JobScheduleSerializer(serializers.ModelSerializer[Schedule]):
    class Meta:
        model = Schedule
        fields = [
            "id",
            "name",
            "target",
            "cron",
            "timezone",
            "overlap",
            "catch_up",
            "state",
            "next_at",
            "failures",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "failures": {"help_text": "Submissions that were refused since the last that was not."},
            "created_by": {"help_text": "With whose rights it submits."},
        }


class JobScheduleDetailSerializer(JobScheduleSerializer):
    next_times = serializers.SerializerMethodField(help_text="The next five times; none while it is paused.")

    class Meta(JobScheduleSerializer.Meta):
        fields = [*JobScheduleSerializer.Meta.fields, "request", "next_times"]
        read_only_fields = fields

    def get_next_times(self, schedule: Schedule) -> list[str]:
        return [time.isoformat().replace("+00:00", "Z") for time in list_coming_times(schedule)]


class OccurrenceSerializer(serializers.ModelSerializer[Occurrence]):
    reason = serializers.CharField(source="reason.message", default="", help_text="Why it was not submitted.")
    subject = serializers.CharField(source="subject_id", help_text="The id of the job or pipeline that it submitted.")

    class Meta:
        model = Occurrence
        fields = ["id", "due_at", "outcome", "count", "subject", "reason", "created_at"]
        read_only_fields = fields
        extra_kwargs = {"count": {"help_text": "Of missed ones: how many from `due_at` on."}}


class SchedulePreviewSerializer(serializers.Serializer[Any]):
    cron = serializers.CharField(help_text="In its normal form.")
    next_times = serializers.ListField(child=serializers.DateTimeField(), help_text="The next five times.")


class NewScheduleBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=60, help_text="Unique in the project, or among those of the plane.")
    target = serializers.CharField(
        max_length=40, help_text="`job` or `pipeline`; of the plane `probe`: what `request` asks for."
    )
    request = serializers.DictField(help_text="What would be POSTed to queue one of these.")
    cron = serializers.CharField(max_length=MAX_CRON_LENGTH, help_text=CRON_HELP)
    timezone = serializers.CharField(max_length=60, required=False, default="UTC", help_text=ZONE_HELP)
    overlap = serializers.ChoiceField(
        Overlap.choices,
        required=False,
        default=Overlap.SKIP.value,
        help_text="While what it submitted last has not ended: skip this time, run both, or cancel the former.",
    )
    catch_up = serializers.ChoiceField(
        CatchUp.choices,
        required=False,
        default=CatchUp.LAST.value,
        help_text="Of times that passed while the plane was not running: run once for the last, or none.",
    )


class ScheduleChangesBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=60, required=False)
    request = serializers.DictField(required=False)
    cron = serializers.CharField(max_length=MAX_CRON_LENGTH, required=False, help_text=CRON_HELP)
    timezone = serializers.CharField(max_length=60, required=False, help_text=ZONE_HELP)
    overlap = serializers.ChoiceField(Overlap.choices, required=False)
    catch_up = serializers.ChoiceField(CatchUp.choices, required=False)


class ScheduleReasonBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
