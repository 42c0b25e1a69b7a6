"""Snapshots for programs: reading with a token, asking for one in a session (no token has the scope)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.site.snapshots import queries, services
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.serializers import (
    SnapshotBody,
    SnapshotOperationBody,
    SnapshotOperationSerializer,
    SnapshotSerializer,
)
from apps.site.snapshots.states import OperationKind


class SnapshotList(ListAPIView[Snapshot]):
    serializer_class = SnapshotSerializer
    queryset = Snapshot.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        return queries.list_snapshots(self.request.actor)

    @extend_schema(operation_id="snapshots_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Snapshots of the plane, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="snapshots_create", request=SnapshotBody, responses={202: SnapshotOperationSerializer})
    def post(self, request: Request) -> Response:
        """Queue a snapshot."""
        policy.require(request.actor, "snapshot.create")
        body = parse_body(SnapshotBody, request)
        operation = services.request_snapshot(actor=request.actor, destination=body["destination"])
        return Response(SnapshotOperationSerializer(operation).data, status=status.HTTP_202_ACCEPTED)


class SnapshotDetail(APIView):
    @extend_schema(operation_id="snapshots_retrieve", responses=SnapshotSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """One snapshot."""
        return Response(SnapshotSerializer(queries.get_snapshot(request.actor, pk)).data)


class SnapshotOperations(ListAPIView[SnapshotOperation]):
    serializer_class = SnapshotOperationSerializer
    queryset = SnapshotOperation.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        snapshot = queries.get_snapshot(self.request.actor, self.kwargs["pk"])
        return queries.list_operations(self.request.actor, snapshot)

    @extend_schema(operation_id="snapshot_operations_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What was done with the snapshot, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="snapshot_operations_create",
        request=SnapshotOperationBody,
        responses={202: SnapshotOperationSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Queue a verification, a restore drill or the removal of the snapshot."""
        snapshot = queries.get_snapshot(request.actor, pk)
        body = parse_body(SnapshotOperationBody, request)
        if body["kind"] == OperationKind.VERIFY:
            operation = services.request_verification(actor=request.actor, snapshot=snapshot)
        elif body["kind"] == OperationKind.DRILL:
            operation = services.request_drill(actor=request.actor, snapshot=snapshot)
        else:
            operation = services.request_removal(actor=request.actor, snapshot=snapshot, reason=body["reason"])
        return Response(SnapshotOperationSerializer(operation).data, status=status.HTTP_202_ACCEPTED)
