"""Environments for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.site.snapshots.environments import queries
from apps.site.snapshots.environments.queries import EnvironmentSource


class EnvironmentSerializer(serializers.Serializer[Any]):
    of = serializers.CharField(help_text="As it was asked for.")
    title = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True, help_text="Since when the node has it, or when the run began.")
    is_partial = serializers.BooleanField(help_text="Of a run: only the packages that runs record.")
    environment = serializers.JSONField(help_text="Sections python, packages, system, drivers, firmware.")


class EnvironmentDifferenceSerializer(serializers.Serializer[Any]):
    section = serializers.CharField()
    name = serializers.CharField()
    left = serializers.CharField(allow_blank=True)
    right = serializers.CharField(allow_blank=True)


class EnvironmentComparisonSerializer(serializers.Serializer[Any]):
    differences = EnvironmentDifferenceSerializer(many=True)
    equal = serializers.IntegerField()
    unreported = serializers.ListField(
        child=serializers.CharField(), help_text="Sections that one side says nothing of."
    )


class EnvironmentView(APIView):
    @extend_schema(
        operation_id="environments_retrieve",
        parameters=[OpenApiParameter("of", str, required=True, description="node:NAME, node:NAME@DATE or run:ID.")],
        responses=EnvironmentSerializer,
    )
    def get(self, request: Request) -> Response:
        """The environment of a node, now or at a date, or of the record of a run."""
        source = queries.get_environment(request.actor, request.query_params.get("of", ""))  # type: ignore[attr-defined]
        return Response(EnvironmentSerializer(describe(source)).data)


def describe(source: EnvironmentSource) -> dict[str, Any]:
    return {
        "of": source.name,
        "title": source.label,
        "at": source.at,
        "is_partial": source.is_partial,
        "environment": source.document,
    }


class EnvironmentComparisonView(APIView):
    @extend_schema(
        operation_id="environments_diff_retrieve",
        parameters=[
            OpenApiParameter("left", str, required=True, description="node:NAME, node:NAME@DATE or run:ID."),
            OpenApiParameter("right", str, required=True, description="Likewise."),
        ],
        responses=EnvironmentComparisonSerializer,
    )
    def get(self, request: Request) -> Response:
        """What differs between two environments."""
        left, right = (request.query_params.get(name, "") for name in ("left", "right"))
        _before, _after, comparison = queries.compare(request.actor, left, right)  # type: ignore[attr-defined]
        answer = {
            "differences": [asdict(row) for row in comparison.differences],
            "equal": comparison.equal,
            "unreported": comparison.unreported,
        }
        return Response(EnvironmentComparisonSerializer(answer).data)
