"""The lineage graph for programs."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import Invalid
from apps.core.lists.csv_files import build_csv_response, encode_csv, format_cell
from apps.core.request_values import parse_int
from apps.platform.accounts.projects import get_project
from apps.platform.lineage.queries import MAX_NODES, EdgeRow, Graph, fetch_graph
from apps.platform.lineage.serializers import GraphQuery, GraphSerializer
from deepseek.messages import Message


class LineageGraph(APIView):
    @extend_schema(parameters=[GraphQuery], responses=GraphSerializer)
    def get(self, request: Request, project: str) -> Response:
        graph = build_requested_graph(request, project)
        payload = {"nodes": graph.nodes.values(), "edges": graph.edges.values(), "truncated": graph.truncated}
        return Response(GraphSerializer(payload).data)


class LineageCsv(APIView):
    @extend_schema(operation_id="lineage_csv", parameters=[GraphQuery], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, project: str) -> HttpResponseBase:
        """The edges of the graph, one a line: what was made from what, by which slot and when."""
        graph = build_requested_graph(request, project)
        ordered = sorted(graph.edges.values(), key=lambda edge: edge.pk)
        columns = EdgeRow._fields[1:]
        lines = encode_csv([columns, *([format_cell(value) for value in edge[1:]] for edge in ordered)])
        return build_csv_response(f"lineage-{graph.root[0]}-{graph.root[1][:12]}", lines)


def build_requested_graph(request: Request, project: str) -> Graph:
    """The graph that a query asks for. Raises Invalid and NotFound."""
    where = get_project(request.actor, project)
    params = request.query_params
    return fetch_graph(
        request.actor,
        where,
        params.get("type", ""),
        params.get("id", ""),
        direction=params.get("direction", "both"),
        depth=parse_whole_number(params.get("depth", "3"), "depth"),
        limit=parse_whole_number(params.get("limit", str(MAX_NODES)), "limit"),
    )


def parse_whole_number(text: str, field: str) -> int:
    """The whole number in a query string; the service checks its range."""
    if (number := parse_int(text)) is not None:
        return number
    raise Invalid(
        "{name} is {text!r}.",
        name=field,
        text=text[:40],
        field=field,
        limit="a whole number",
        hint=Message("For instance {field}=3.", field=field),
    )
