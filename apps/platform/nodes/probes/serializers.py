"""Probes, as REST gives and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.messages import translate_message
from apps.platform.nodes.probes.models import NodeProbe, Probe
from apps.platform.nodes.probes.queries import list_node_probes
from apps.platform.nodes.probes.services import LEVELS, MAX_NODES


class NodeProbeSerializer(serializers.ModelSerializer[NodeProbe]):
    node = serializers.CharField(source="node.name")
    reason = serializers.SerializerMethodField(help_text="Why it failed.")
    counts = serializers.DictField(
        source="report.counts", default=None, child=serializers.IntegerField(), help_text="Checks by verdict."
    )

    class Meta:
        model = NodeProbe
        fields = ["node", "state", "reason", "counts", "started_at", "ended_at"]
        read_only_fields = fields

    def get_reason(self, row: NodeProbe) -> str:
        return translate_message(row.cause) if row.cause else ""


class ProbeSerializer(serializers.ModelSerializer[Probe]):
    class Meta:
        model = Probe
        fields = ["id", "level", "requested_by", "requested_at"]
        read_only_fields = fields


class ProbeDetailSerializer(ProbeSerializer):
    nodes = serializers.SerializerMethodField()

    class Meta(ProbeSerializer.Meta):
        fields = [*ProbeSerializer.Meta.fields, "nodes"]
        read_only_fields = fields

    def get_nodes(self, probe: Probe) -> list[dict[str, Any]]:
        return [dict(row) for row in NodeProbeSerializer(list_node_probes(probe), many=True).data]


class ProbeBody(serializers.Serializer[Any]):
    nodes = serializers.ListField(
        child=serializers.CharField(max_length=120),
        required=False,
        default=list,
        max_length=MAX_NODES,
        help_text="Names; none: every node that is online.",
    )
    level = serializers.IntegerField(
        required=False, default=1, min_value=min(LEVELS), max_value=max(LEVELS), help_text="1: seconds; 2: two minutes."
    )
