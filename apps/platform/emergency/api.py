"""Emergency grants for programs in a browser's session: no token asks, confirms or ends."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.request_values import validate_choice
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.accounts.reauthentication import require_fresh_decision
from apps.platform.emergency import queries, services
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.emergency.serializers import EmergencyGrantSerializer, EndSerializer, NewEmergencyGrantSerializer
from apps.platform.emergency.states import STATUSES


class GrantList(ListAPIView[EmergencyGrant]):
    serializer_class = EmergencyGrantSerializer
    queryset = EmergencyGrant.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        grants = queries.list_grants(self.request.actor)
        chosen = self.request.query_params.get("status", "")
        validate_choice("status", chosen, STATUSES)
        return grants.with_status(chosen) if chosen else grants

    @extend_schema(
        operation_id="emergency_grants_list", parameters=[OpenApiParameter("status", str, enum=list(STATUSES))]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Emergency grants and requests, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="emergency_grants_request",
        request=NewEmergencyGrantSerializer,
        responses={201: EmergencyGrantSerializer},
    )
    def post(self, request: Request) -> Response:
        """Ask for a role for yourself. It lends nothing until an administrator of another kind confirms it."""
        policy.require(request.actor, "emergency.request")
        body = parse_body(NewEmergencyGrantSerializer, request)
        slug = body.pop("project")
        where = get_project(request.actor, slug) if slug else None
        grant = services.request_grant(actor=request.actor, project=where, **body)
        return Response(EmergencyGrantSerializer(grant).data, status=status.HTTP_201_CREATED)


class GrantDetail(APIView):
    @extend_schema(operation_id="emergency_grants_retrieve", responses=EmergencyGrantSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(EmergencyGrantSerializer(queries.get_grant(request.actor, pk)).data)


class GrantConfirm(APIView):
    @extend_schema(operation_id="emergency_grants_confirm", request=None, responses=EmergencyGrantSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Confirm a request of somebody else: it is in force at once, for its hours. Needs a fresh second factor."""
        grant = queries.get_grant(request.actor, pk)
        policy.require(request.actor, "emergency.confirm")
        require_fresh_decision(request._request, request.actor, "emergency.confirm")
        grant = services.confirm_grant(actor=request.actor, grant=grant)
        return Response(EmergencyGrantSerializer(grant).data)


class GrantEnd(APIView):
    @extend_schema(operation_id="emergency_grants_end", request=EndSerializer, responses=EmergencyGrantSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """End a grant or refuse a request: any administrator, and whoever holds it."""
        grant = queries.get_grant(request.actor, pk)
        policy.require(request.actor, "emergency.end")
        grant = services.end_grant(actor=request.actor, grant=grant, **parse_body(EndSerializer, request))
        return Response(EmergencyGrantSerializer(grant).data)
