"""Reports of doctors, as they come in and as they are read."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

VERDICTS = ("fail", "warn", "unknown", "ok", "not_applicable")
FORMAT = "deepseek-doctor/1"
MAX_CHECKS = 500


class CheckSerializer(serializers.Serializer[Any]):
    id = serializers.RegexField(r"^[a-z0-9_]{1,20}\.[a-z0-9_]{1,40}$")
    group = serializers.CharField(max_length=60)
    verdict = serializers.ChoiceField(choices=VERDICTS)
    why = serializers.CharField(max_length=600)
    remedy = serializers.CharField(max_length=1000, allow_blank=True, required=False, default="")
    level = serializers.IntegerField(min_value=1, max_value=3, default=1)
    required = serializers.BooleanField(default=False)


class HealthReportSerializer(serializers.Serializer[Any]):
    """What `deepseek-doctor --format json` prints. Members that the plane does not keep are ignored."""

    format = serializers.ChoiceField(choices=[FORMAT])
    level = serializers.IntegerField(min_value=1, max_value=3)
    seconds = serializers.FloatField(min_value=0, max_value=86_400)
    software = serializers.CharField(max_length=120, allow_blank=True, default="")
    checks = CheckSerializer(many=True, allow_empty=False, max_length=MAX_CHECKS)

    def validate_checks(self, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = [check["id"] for check in checks]
        if twice := next((each for each in ids if ids.count(each) > 1), None):
            raise serializers.ValidationError(f"The check {twice} stands twice.")
        return checks


class ReportAnswerSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    blocking = serializers.ListField(child=serializers.CharField(), help_text="Required checks that keep jobs away.")


class RegistrationSerializer(serializers.Serializer[Any]):
    """How the plane knows a node, for its doctor to compare with what is there."""

    name = serializers.CharField()
    cpus = serializers.FloatField()
    memory_bytes = serializers.IntegerField(help_text="That jobs may use together.")
    gpus = serializers.ListField(child=serializers.DictField())
    extras = serializers.ListField(child=serializers.CharField())
    conflicts = serializers.ListField(child=serializers.DictField(), help_text="Rules that the site has imported.")


class PlaneHealthSerializer(serializers.Serializer[Any]):
    database = serializers.DictField()
    audit = serializers.DictField()
    backup = serializers.DictField()


class HealthSummarySerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    level = serializers.IntegerField()
    seconds = serializers.FloatField()
    software = serializers.CharField()
    counts = serializers.DictField(child=serializers.IntegerField())
    failed_checks = serializers.ListField(child=serializers.CharField())


class HealthSerializer(HealthSummarySerializer):
    checks = CheckSerializer(many=True)


class NodeHealthSerializer(serializers.Serializer[Any]):
    """The newest report, and the counts of those before it, newest first."""

    node = serializers.CharField()
    failed_checks = serializers.ListField(child=serializers.CharField(), help_text="They keep jobs away.")
    report = HealthSerializer(allow_null=True)
    trend = HealthSummarySerializer(many=True)


class NodeTokenSerializer(serializers.Serializer[Any]):
    node = serializers.CharField()
    token = serializers.CharField(help_text="Shown once.")
