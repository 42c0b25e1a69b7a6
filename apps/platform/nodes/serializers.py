"""How the API shows nodes, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.nodes.labels import MAX_LABELS
from apps.platform.nodes.models import Node


class NodeSerializer(serializers.ModelSerializer[Node]):
    """A node with what `reads.list_nodes` annotates; sizes in bytes."""

    online = serializers.BooleanField(read_only=True)
    status = serializers.ChoiceField(choices=["online", "offline", "held"], read_only=True)
    running_jobs = serializers.IntegerField(read_only=True)
    used_cpus = serializers.FloatField(read_only=True)
    used_memory_bytes = serializers.IntegerField(read_only=True)
    used_gpus = serializers.IntegerField(read_only=True)

    class Meta:
        model = Node
        fields = [
            "name",
            "host",
            "status",
            "online",
            "queues",
            "cpus",
            "memory_bytes",
            "disk_bytes",
            "gpus",
            "extras",
            "hardware",
            "load",
            "labels",
            "disk_speed",
            "disk_measured_at",
            "running_jobs",
            "used_cpus",
            "used_memory_bytes",
            "used_gpus",
            "registered_at",
            "heartbeat_at",
            "held_at",
            "held_reason",
            "failed_checks",
        ]
        read_only_fields = fields


class GpuSampleField(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    busy = serializers.FloatField(allow_null=True, help_text="0 to 1; null: the card does not tell.")
    memory_used_bytes = serializers.IntegerField(allow_null=True)
    memory_bytes = serializers.IntegerField(allow_null=True)
    temperature = serializers.FloatField(allow_null=True, help_text="Degrees Celsius.")


class NodeSampleField(serializers.Serializer[Any]):
    """What was in use, whoever used it; null: not told."""

    at = serializers.DateTimeField(help_text="Where the step begins.")
    cpu_share = serializers.FloatField(allow_null=True, help_text="Of all CPUs, 0 to 1.")
    memory_used_bytes = serializers.IntegerField(allow_null=True)
    memory_total_bytes = serializers.IntegerField(allow_null=True)
    disk_used_bytes = serializers.IntegerField(allow_null=True, help_text="Where the jobs' scratch lies.")
    disk_total_bytes = serializers.IntegerField(allow_null=True)
    store_used_bytes = serializers.IntegerField(allow_null=True, help_text="Of the artifacts, where they are a folder.")
    store_total_bytes = serializers.IntegerField(allow_null=True)
    running_jobs = serializers.FloatField()
    gpus = GpuSampleField(many=True)


class NodeSamplesSerializer(serializers.Serializer[Any]):
    node = serializers.CharField()
    step = serializers.IntegerField(help_text="Seconds.")
    to = serializers.DateTimeField()
    samples = NodeSampleField(many=True)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of the language, so no attribute can have this name."""
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class HoldSerializer(serializers.Serializer[Node]):
    reason = serializers.CharField(max_length=200, help_text="Why the node takes no new jobs; shown to whoever waits.")


class LabelsSerializer(serializers.Serializer[Node]):
    labels = serializers.ListField(
        child=serializers.CharField(max_length=60),
        max_length=MAX_LABELS,
        help_text="For instance rack=3; an empty list takes all away.",
    )
