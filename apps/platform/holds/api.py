"""Holds for programs: members list them, the auditor places and releases them at a browser."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.holds import queries, services
from apps.platform.holds.models import Hold
from apps.platform.holds.serializers import HoldSerializer, NewHoldSerializer, ReleaseSerializer

RELEASED = OpenApiParameter("released", str, enum=["1"], description="1: those that were released too.")


class HoldsView(GenericAPIView[Hold]):
    serializer_class = HoldSerializer
    queryset = Hold.objects.none()  # for the schema alone

    @extend_schema(operation_id="holds_list", parameters=[RELEASED], responses=HoldSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The holds of a project that are in force, newest first."""
        where = get_project(request.actor, project)
        holds = queries.list_holds(request.actor, where, all_of_them=request.query_params.get("released") == "1")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(holds), many=True).data)

    @extend_schema(operation_id="holds_place", request=NewHoldSerializer, responses={201: HoldSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Hold an object, or the whole project: nothing deletes it for good until the hold is released."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "hold.place", where)
        hold = services.place_hold(actor=request.actor, project=where, **parse_body(NewHoldSerializer, request))
        return Response(HoldSerializer(hold).data, status=status.HTTP_201_CREATED)


class HoldView(APIView):
    @extend_schema(operation_id="holds_retrieve", responses=HoldSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        return Response(HoldSerializer(get_project_hold(request, project, pk)).data)

    @extend_schema(operation_id="holds_release", request=ReleaseSerializer, responses=HoldSerializer)
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Release a hold; it stays as history."""
        hold = get_project_hold(request, project, pk)
        policy.require(request.actor, "hold.release", hold)
        body = parse_body(ReleaseSerializer, request)
        return Response(HoldSerializer(services.release_hold(actor=request.actor, hold=hold, **body)).data)


def get_project_hold(request: Request, project: str, pk: int) -> Hold:
    return queries.get_hold(request.actor, get_project(request.actor, project), pk)
