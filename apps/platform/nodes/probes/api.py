"""Probes for programs: request one, list them, read what became of each node."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.nodes.probes import queries, services
from apps.platform.nodes.probes.models import Probe
from apps.platform.nodes.probes.serializers import ProbeBody, ProbeDetailSerializer, ProbeSerializer


class ProbeList(GenericAPIView[Probe]):
    serializer_class = ProbeSerializer
    queryset = Probe.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="probes_list", responses=ProbeSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Probes of nodes, newest first."""
        rows = self.paginate_queryset(queries.list_probes(request.actor)) or []
        return self.get_paginated_response(ProbeSerializer(rows, many=True).data)

    @extend_schema(operation_id="probes_create", request=ProbeBody, responses={201: ProbeDetailSerializer})
    def post(self, request: Request) -> Response:
        """Ask the workers of nodes to run their doctor and keep its report."""
        policy.require(request.actor, "node.request_probe")
        probe = services.request_probe(actor=request.actor, **parse_body(ProbeBody, request))
        return Response(ProbeDetailSerializer(probe).data, status=status.HTTP_201_CREATED)


class ProbeDetail(APIView):
    @extend_schema(operation_id="probes_retrieve", responses=ProbeDetailSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """One probe, and what became of each of its nodes."""
        return Response(ProbeDetailSerializer(queries.get_probe(request.actor, pk)).data)
