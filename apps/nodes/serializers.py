"""How the API shows nodes, and what it takes."""

from __future__ import annotations

from rest_framework import serializers

from apps.nodes.models import Node


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
            "hardware",
            "load",
            "running_jobs",
            "used_cpus",
            "used_memory_bytes",
            "used_gpus",
            "registered_at",
            "heartbeat_at",
            "held_at",
            "held_reason",
        ]
        read_only_fields = fields


class HoldSerializer(serializers.Serializer[Node]):
    reason = serializers.CharField(max_length=200, help_text="Why the node takes no new jobs; shown to whoever waits.")
