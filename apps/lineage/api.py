"""The lineage graph for programs."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.projects import get_project
from apps.errors import Invalid
from apps.lineage.reads import MAX_NODES, graph
from apps.lineage.serializers import GraphQuery, GraphSerializer


class LineageGraph(APIView):
    @extend_schema(parameters=[GraphQuery], responses=GraphSerializer)
    def get(self, request: Request, project: str) -> Response:
        where = get_project(request.actor, project)
        asked = request.query_params
        found = graph(
            request.actor,
            where,
            asked.get("type", ""),
            asked.get("id", ""),
            direction=asked.get("direction", "both"),
            depth=whole(asked.get("depth", "3"), "depth"),
            limit=whole(asked.get("limit", str(MAX_NODES)), "limit"),
        )
        shown = {"nodes": found.nodes.values(), "edges": found.edges.values(), "truncated": found.truncated}
        return Response(GraphSerializer(shown).data)


def whole(text: str, field: str) -> int:
    """The whole number in a query string; the service checks its range."""
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    raise Invalid(f"{field} is {text[:40]!r}.", field=field, limit="a whole number", hint=f"For instance {field}=3.")
