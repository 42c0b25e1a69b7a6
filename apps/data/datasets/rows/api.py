"""REST view of the rows of a version's table, with the parameters of its page."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import Invalid
from apps.data.datasets.api import get_requested_version
from apps.data.datasets.rows.row_requests import (
    COLUMNS_SHOWN,
    MAX_PAGE_ROWS,
    MAX_SORTED,
    OPERATORS,
    PAGE_ROWS,
    read_row_request,
)
from apps.data.datasets.rows.row_views import RowView, TableRow, read_row_view
from deepseek.messages import N_

PARAMS = [
    OpenApiParameter("column", str, many=True, description="Column of a filter; repeated with `op` and `value`."),
    OpenApiParameter("op", str, many=True, enum=OPERATORS, description="Condition of the filter at the same place."),
    OpenApiParameter("value", str, many=True, description="Its value; LOW..HIGH for between, empty for missing."),
    OpenApiParameter("q", str, description="Text that any text column contains, whatever the case."),
    OpenApiParameter("sort", str, description="Column, with a - before it for a descending order."),
    OpenApiParameter("after", str, description="`next` of the page before, or a number of rows to skip."),
    OpenApiParameter("offset", int, description=f"Place in the order by `sort`, up to {MAX_SORTED - PAGE_ROWS}."),
    OpenApiParameter("limit", int, description=f"Rows, up to {MAX_PAGE_ROWS}; {PAGE_ROWS} by default."),
    OpenApiParameter("cols", int, description=f"Columns to skip: an answer has {COLUMNS_SHOWN} of them."),
    OpenApiParameter("count", str, enum=["1"], description="Go on to the end of the table, to count what matches."),
]


class RowColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField(help_text="As the file has it; string for every column of a text file.")


class TableRowSerializer(serializers.Serializer[TableRow]):
    number = serializers.IntegerField(help_text="From 1.")
    cells = serializers.ListField(
        child=serializers.CharField(allow_null=True),
        help_text="At most 200 characters each; null where one is missing.",
    )


class RowViewSerializer(serializers.Serializer[RowView]):
    columns = RowColumnSerializer(many=True)
    column_count = serializers.IntegerField()
    first_column = serializers.IntegerField()
    rows = TableRowSerializer(many=True)
    total = serializers.IntegerField(allow_null=True, help_text="Rows of the table.")
    matches = serializers.IntegerField(allow_null=True, help_text="Rows that match, of those that were scanned.")
    scanned = serializers.IntegerField(help_text="Rows that were read or ruled out.")
    complete = serializers.BooleanField(help_text="Whether the whole table was scanned, as far as the answer needs it.")
    next = serializers.CharField(
        allow_null=True, help_text="`after` of the next page, or its `offset` where the rows are sorted."
    )


class RowsView(APIView):
    @extend_schema(operation_id="dataset_versions_rows", parameters=PARAMS, responses=RowViewSerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """A page of the rows of a version's table, filtered, searched or sorted within a bounded time."""
        dataset_version = get_requested_version(request, project, name, version)
        names = [str(column.get("name", "")) for column in dataset_version.columns]
        view = read_row_view(request.actor, dataset_version, read_row_request(request.query_params, names))
        if view is None:
            raise Invalid(
                "{version} holds no table whose rows can be read one by one.",
                version=dataset_version,
                code="no_rows",
                field="version",
                limit="CSV, Parquet or JSON lines",
                hint=N_("Download its files."),
            )
        return Response(dict(RowViewSerializer(view).data))
