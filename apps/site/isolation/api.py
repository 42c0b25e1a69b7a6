"""Isolation for programs: a node fetches the policy and sends its reports; people and auditors' tools read."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.nodes.health.authentication import NodeAuthentication
from apps.site.isolation import queries, services
from apps.site.isolation.models import ProbeReport, ProbeReportQuerySet
from apps.site.isolation.serializers import (
    IsolationSerializer,
    PolicyVersionSerializer,
    ProbeReportBody,
    ProbeReportSerializer,
)


class NodePolicy(APIView):
    authentication_classes = (NodeAuthentication,)

    @extend_schema(operation_id="isolation_node_policy", responses=PolicyVersionSerializer)
    def get(self, request: Request, name: str) -> Response:
        """The policy that the node has to apply."""
        services.get_own_node(request.actor, name)
        return Response(PolicyVersionSerializer(queries.get_policy_for_node(request.actor)).data)


class NodeProbeReports(APIView):
    authentication_classes = (NodeAuthentication,)

    @extend_schema(
        operation_id="isolation_report_create", request=ProbeReportBody, responses={201: ProbeReportSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Keep what the probes of the node found, for 90 days."""
        policy.require(request.actor, "isolation.report")
        services.get_own_node(request.actor, name)
        body = parse_body(ProbeReportBody, request)
        report = services.record_report(actor=request.actor, name=name, report=body)
        return Response(ProbeReportSerializer(report).data, status=status.HTTP_201_CREATED)


class IsolationDetail(APIView):
    @extend_schema(operation_id="isolation_retrieve", responses=IsolationSerializer)
    def get(self, request: Request) -> Response:
        """The policy in force, and what the last report of every node proves."""
        proof = queries.get_proof(request.actor)
        answer = {
            "status": proof.status,
            "policy": queries.get_current_policy(request.actor),
            "nodes": proof.nodes,
        }
        return Response(IsolationSerializer(answer).data)


class ProbeReportList(ListAPIView[ProbeReport]):
    serializer_class = ProbeReportSerializer
    queryset = ProbeReport.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        reports: ProbeReportQuerySet = queries.list_reports(
            self.request.actor, self.request.query_params.get("node", "")
        )
        return reports

    @extend_schema(
        operation_id="isolation_reports_list",
        parameters=[OpenApiParameter("node", str, description="Only of the node of this name.")],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Reports of nodes with each attempt, the newest first."""
        return super().get(request, *args, **kwargs)
