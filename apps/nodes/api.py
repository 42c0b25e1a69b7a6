"""Nodes for programs. Holding and releasing take a person in a browser: no scope names them."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps import policy
from apps.nodes import services
from apps.nodes.models import Node, NodeQuerySet
from apps.nodes.reads import get_node, list_nodes
from apps.nodes.serializers import HoldSerializer, NodeSerializer


class NodeList(ListAPIView[Node]):
    serializer_class = NodeSerializer
    queryset = Node.objects.none()  # for the schema alone
    page_order = ("name",)

    def get_queryset(self) -> NodeQuerySet:
        return list_nodes(self.request.actor)


class NodeDetail(APIView):
    @extend_schema(responses=NodeSerializer)
    def get(self, request: Request, name: str) -> Response:
        return Response(NodeSerializer(get_node(request.actor, name)).data)


class NodeHold(APIView):
    @extend_schema(request=HoldSerializer, responses=NodeSerializer)
    def post(self, request: Request, name: str) -> Response:
        policy.require(request.actor, "node.hold")
        node = get_node(request.actor, name)
        body = HoldSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        services.hold_node(actor=request.actor, node=node, reason=body.validated_data["reason"])
        return Response(NodeSerializer(get_node(request.actor, name)).data)


class NodeRelease(APIView):
    @extend_schema(request=None, responses=NodeSerializer)
    def post(self, request: Request, name: str) -> Response:
        policy.require(request.actor, "node.release")
        services.release_node(actor=request.actor, node=get_node(request.actor, name))
        return Response(NodeSerializer(get_node(request.actor, name)).data)
