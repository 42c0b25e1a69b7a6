"""Nodes for programs. Holding and releasing take a person in a browser: no scope names them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.nodes import services
from apps.platform.nodes.models import Node, NodeQuerySet
from apps.platform.nodes.queries import STATUSES, get_node, list_nodes
from apps.platform.nodes.samples import get_node_samples, parse_time_window
from apps.platform.nodes.serializers import HoldSerializer, LabelsSerializer, NodeSamplesSerializer, NodeSerializer

FILTERS = [
    OpenApiParameter("q", str, description="A part of the name or the host."),
    OpenApiParameter("status", str, enum=list(STATUSES)),
]


class NodeList(ListAPIView[Node]):
    serializer_class = NodeSerializer
    queryset = Node.objects.none()  # for the schema alone
    page_order = ("name",)

    def get_queryset(self) -> NodeQuerySet:
        params = self.request.query_params
        return list_nodes(self.request.actor, query=params.get("q", ""), status=params.get("status", ""))

    @extend_schema(parameters=FILTERS)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The nodes by name: what they have, what is in use, and whether they live."""
        return super().get(request, *args, **kwargs)


class NodeDetail(APIView):
    @extend_schema(responses=NodeSerializer)
    def get(self, request: Request, name: str) -> Response:
        return Response(NodeSerializer(get_node(request.actor, name)).data)


OVER_TIME = [
    OpenApiParameter("from", str, description="ISO 8601 with a zone; an hour before `to` if left out."),
    OpenApiParameter("to", str, description="ISO 8601 with a zone; now if left out."),
    OpenApiParameter("step", int, description="Seconds between two points; as fine as 400 points allow if left out."),
]


class NodeSamples(APIView):
    @extend_schema(parameters=OVER_TIME, responses=NodeSamplesSerializer)
    def get(self, request: Request, name: str) -> Response:
        """How busy a node was: means over each step in which anything was measured, at most 400 of them.

        Measurements of every 15 s are kept for 24 hours, means of five minutes for 30 days.
        """
        node = get_node(request.actor, name)
        window = parse_time_window(request.query_params)
        points = [{"at": at, **payload} for at, payload in get_node_samples(request.actor, node, window)]
        payload = {"node": node.name, "from": window.start, "to": window.end, "step": window.step, "samples": points}
        return Response(NodeSamplesSerializer(payload).data)


class NodeHold(APIView):
    @extend_schema(request=HoldSerializer, responses=NodeSerializer)
    def post(self, request: Request, name: str) -> Response:
        policy.require(request.actor, "node.hold")
        node = get_node(request.actor, name)
        services.hold_node(actor=request.actor, node=node, **parse_body(HoldSerializer, request))
        return Response(NodeSerializer(get_node(request.actor, name)).data)


class NodeLabels(APIView):
    @extend_schema(request=LabelsSerializer, responses=NodeSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Give the node labels, in place of its own; a job that asks for labels runs only where all of them are."""
        policy.require(request.actor, "node.set_labels")
        node = get_node(request.actor, name)
        body = parse_body(LabelsSerializer, request)
        services.set_labels(actor=request.actor, node=node, labels=",".join(body["labels"]))
        return Response(NodeSerializer(get_node(request.actor, name)).data)


class NodeRelease(APIView):
    @extend_schema(request=None, responses=NodeSerializer)
    def post(self, request: Request, name: str) -> Response:
        policy.require(request.actor, "node.release")
        services.release_node(actor=request.actor, node=get_node(request.actor, name))
        return Response(NodeSerializer(get_node(request.actor, name)).data)
