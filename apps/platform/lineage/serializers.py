"""How the API shows a lineage graph."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.lineage.ends import END_TYPES
from apps.platform.lineage.queries import DIRECTIONS, MAX_DEPTH, MAX_NODES, EdgeRow, GraphNode


class GraphNodeSerializer(serializers.Serializer[GraphNode]):
    type = serializers.CharField()
    id = serializers.CharField()
    digest = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    depth = serializers.IntegerField(help_text="Edges from the root; negative is what it was made from.")


class GraphEdgeSerializer(serializers.Serializer[EdgeRow]):
    source_type = serializers.CharField()
    source_id = serializers.CharField()
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    role = serializers.CharField(help_text="The slot it went in by, or came out of.")
    created_at = serializers.DateTimeField()


class GraphSerializer(serializers.Serializer[Any]):
    nodes = GraphNodeSerializer(many=True)
    edges = GraphEdgeSerializer(many=True)
    truncated = serializers.BooleanField(help_text=f"There is more than {MAX_NODES} nodes.")


class GraphQuery(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=END_TYPES)
    id = serializers.CharField(max_length=80, help_text="Number of a version or job, digest of an artifact.")
    direction = serializers.ChoiceField(choices=DIRECTIONS, default="both")
    depth = serializers.IntegerField(min_value=1, max_value=MAX_DEPTH, default=3)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_NODES, default=MAX_NODES)
