"""Health of nodes for programs: what a doctor sends and asks with its node's token, and what people read."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.nodes.health import queries, services
from apps.platform.nodes.health.authentication import NodeAuthentication
from apps.platform.nodes.health.serializers import (
    HealthReportSerializer,
    NodeHealthSerializer,
    NodeTokenSerializer,
    PlaneHealthSerializer,
    RegistrationSerializer,
    ReportAnswerSerializer,
)
from apps.platform.nodes.queries import get_node


class DoctorReports(APIView):
    authentication_classes = (NodeAuthentication,)

    @extend_schema(
        operation_id="doctor_report", request=HealthReportSerializer, responses={201: ReportAnswerSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Report the health of a node, by itself. Required checks that failed keep jobs away until they pass."""
        policy.require(request.actor, "node.report_health")
        services.require_own_node(request.actor, "node.report_health", name)
        body = parse_body(HealthReportSerializer, request)
        report = services.record_health_report(actor=request.actor, name=name, **body)
        answer = {"id": report.pk, "blocking": report.failed_checks}
        return Response(ReportAnswerSerializer(answer).data, status=status.HTTP_201_CREATED)


class DoctorRegistration(APIView):
    authentication_classes = (NodeAuthentication,)

    @extend_schema(operation_id="doctor_registration", responses=RegistrationSerializer)
    def get(self, request: Request, name: str) -> Response:
        """How the plane knows the node, and the conflict rules that the site has imported."""
        policy.require(request.actor, "node.read_registration")
        node = services.require_own_node(request.actor, "node.read_registration", name)
        return Response(RegistrationSerializer(queries.describe_registration(node)).data)


class DoctorPlaneHealth(APIView):
    authentication_classes = (NodeAuthentication,)

    @extend_schema(operation_id="doctor_plane_health", responses=PlaneHealthSerializer)
    def get(self, request: Request) -> Response:
        """The plane's own database, audit trail and backup, as a node's doctor checks them."""
        return Response(PlaneHealthSerializer(queries.describe_plane_health(request.actor)).data)


class NodeHealth(APIView):
    @extend_schema(responses=NodeHealthSerializer)
    def get(self, request: Request, name: str) -> Response:
        """The newest report of a node's doctor with every check, and the counts of the 60 newest."""
        node = get_node(request.actor, name)
        answer = {
            "node": node.name,
            "failed_checks": node.failed_checks,
            "report": queries.get_newest_report(request.actor, node),
            "trend": queries.list_report_summaries(request.actor, node),
        }
        return Response(NodeHealthSerializer(answer).data)


class NodeTokenView(APIView):
    @extend_schema(operation_id="nodes_token_create", request=None, responses={201: NodeTokenSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Issue the token of a node's doctor, in place of the one before. It is shown once."""
        policy.require(request.actor, "node.issue_token")
        node = get_node(request.actor, name)
        secret = services.issue_node_token(actor=request.actor, node=node)
        answer = {"node": node.name, "token": secret}
        return Response(NodeTokenSerializer(answer).data, status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="nodes_token_destroy", request=None, responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Take the token of a node's doctor away."""
        policy.require(request.actor, "node.revoke_token")
        services.revoke_node_token(actor=request.actor, node=get_node(request.actor, name))
        return Response(status=status.HTTP_204_NO_CONTENT)
