"""The policy and the reports of nodes, as they come in and as they are read."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.site.isolation.models import PolicyVersion, ProbeReport

KINDS = ("tcp", "udp", "icmp", "dns", "ipv6", "metadata")
VERDICTS = ("refused", "passed", "unknown")
REFUSED_BY = ("rule", "no_route", "error", "resolver", "")
MAX_RESULTS = 100


class ProbeResultSerializer(serializers.Serializer[Any]):
    """One attempt to get out."""

    kind = serializers.ChoiceField(choices=KINDS)
    target = serializers.CharField(max_length=253)
    protocol = serializers.CharField(max_length=20)
    port = serializers.IntegerField(min_value=0, max_value=65535, default=0)
    verdict = serializers.ChoiceField(choices=VERDICTS)
    refused_by = serializers.ChoiceField(choices=REFUSED_BY, default="")
    rule = serializers.CharField(max_length=40, allow_blank=True, default="")
    error = serializers.CharField(max_length=60, allow_blank=True, default="")
    packets_left = serializers.IntegerField(min_value=0, max_value=10**12, allow_null=True, default=None)
    seconds = serializers.FloatField(min_value=0, max_value=86_400)
    at = serializers.DateTimeField(help_text="By the node's clock.")

    def to_internal_value(self, data: Any) -> Any:
        row = super().to_internal_value(data)
        row["at"] = row["at"].isoformat()
        return row


class ProbeReportBody(serializers.Serializer[Any]):
    """What `deepseek isolate verify --json` prints. Members that the plane does not keep are ignored."""

    format = serializers.ChoiceField(choices=[1])
    policy_digest = serializers.RegexField(r"^([0-9a-f]{64})?\Z", allow_blank=True, default="")
    is_privileged = serializers.BooleanField(default=False)
    results = ProbeResultSerializer(many=True, allow_empty=False, max_length=MAX_RESULTS)


class StoredProbeResultSerializer(ProbeResultSerializer):
    """As it was sent."""

    at = serializers.CharField(help_text="By the node's clock.")


class ProbeReportSerializer(serializers.ModelSerializer[ProbeReport]):
    node = serializers.CharField(source="node.name")
    results = StoredProbeResultSerializer(many=True)

    class Meta:
        model = ProbeReport
        fields = ["id", "node", "at", "verdict", "policy_digest", "is_privileged", "results"]
        read_only_fields = fields


class PolicyVersionSerializer(serializers.ModelSerializer[PolicyVersion]):
    policy = serializers.JSONField(source="document", help_text="As docs/isolation.md has it.")

    class Meta:
        model = PolicyVersion
        fields = ["number", "policy", "digest", "reason", "created_by", "created_at"]
        read_only_fields = fields


class NodeProofSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=["refused", "passed", "unknown", "stale", "never"])
    at = serializers.DateTimeField(allow_null=True)
    passed = serializers.ListField(child=serializers.CharField(), help_text="What came through.")
    has_policy = serializers.BooleanField(help_text="Whether the newest version of the policy is in force there.")


class IsolationSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["refused", "passed", "unknown", "stale", "never"])
    policy = PolicyVersionSerializer(allow_null=True)
    nodes = NodeProofSerializer(many=True)
