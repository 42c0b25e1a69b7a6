"""REST views of row lineage: the origin of a row and its descendants in later versions."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.data.datasets.api import get_requested_version
from apps.data.datasets.provenance.row_origins import (
    DescendantRows,
    Hop,
    RowDescendants,
    RowOrigin,
    trace_descendants,
    trace_origin,
)
from apps.data.datasets.versions.row_cells import RowCells


class CellsSerializer(serializers.Serializer[RowCells]):
    columns = serializers.ListField(child=serializers.CharField())
    values = serializers.ListField(child=serializers.CharField(allow_null=True), help_text="Null where one is missing.")
    start = serializers.IntegerField(help_text="First byte of the row in the file.")
    end = serializers.IntegerField(help_text="The byte behind it.")


class HopSerializer(serializers.Serializer[Hop]):
    dataset = serializers.CharField(source="version.dataset.name")
    number = serializers.IntegerField(source="version.number")
    digest = serializers.CharField(source="version.digest")
    job = serializers.IntegerField(source="version.job_id", allow_null=True, help_text="The job that made the version.")
    row = serializers.IntegerField(help_text="From 1.")
    path = serializers.SerializerMethodField(help_text="The file that holds the row.")
    file_digest = serializers.SerializerMethodField()
    kept = serializers.BooleanField(help_text="Every row of this version is the row at the same place of the next hop.")
    cells = CellsSerializer(allow_null=True, help_text="Of a CSV file's row that is cheap to reach.")

    def get_path(self, hop: Hop) -> str:
        return hop.file.path if hop.file else ""

    def get_file_digest(self, hop: Hop) -> str:
        return hop.file.artifact_id if hop.file else ""


class OriginSerializer(serializers.Serializer[RowOrigin]):
    hops = HopSerializer(many=True, help_text="The row asked for first, the earliest version last.")
    ends = serializers.ChoiceField(
        choices=["source", "inserted", "not_recorded", "cut"],
        help_text="source: bytes that no job made; inserted: a step put the row in; not_recorded: the job kept no"
        " origins; cut: a longer chain than is told.",
    )


class ReachedSerializer(serializers.Serializer[DescendantRows]):
    dataset = serializers.CharField(source="version.dataset.name")
    number = serializers.IntegerField(source="version.number")
    digest = serializers.CharField(source="version.digest")
    job = serializers.IntegerField(source="version.job_id", allow_null=True)
    hops = serializers.IntegerField(help_text="Versions from the one asked for.")
    rows = serializers.ListField(child=serializers.IntegerField(), help_text="From 1, ascending; at most 1,000.")
    more = serializers.BooleanField(help_text="The row went into more rows than these.")


class DescendantsSerializer(serializers.Serializer[RowDescendants]):
    reached = ReachedSerializer(many=True)
    truncated = serializers.BooleanField(help_text="There are more versions, or longer runs, than one answer reads.")


class RowOriginView(APIView):
    @extend_schema(operation_id="dataset_versions_row_origin", responses=OriginSerializer)
    def get(self, request: Request, project: str, name: str, version: str, row: int) -> Response:
        """The way of a row back to the file that it was uploaded in. Rows count from 1."""
        dataset_version = get_requested_version(request, project, name, version)
        return Response(serialize_with(OriginSerializer, trace_origin(request.actor, dataset_version, row)))


class RowDescendantsView(APIView):
    @extend_schema(operation_id="dataset_versions_row_descendants", responses=DescendantsSerializer)
    def get(self, request: Request, project: str, name: str, version: str, row: int) -> Response:
        """The rows of later versions that a row went into. Rows count from 1."""
        dataset_version = get_requested_version(request, project, name, version)
        return Response(serialize_with(DescendantsSerializer, trace_descendants(request.actor, dataset_version, row)))


def serialize_with(serializer: type[serializers.Serializer[Any]], instance: Any) -> dict[str, Any]:
    return dict(serializer(instance).data)
