"""Recalls for programs: what carries something, what a recall of it would do, and how far one has come."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.lists.pages import paginate
from apps.fleet.recalls import queries, services
from apps.fleet.recalls.models import Recall, RecallDevice, RecallItem
from apps.fleet.recalls.presenters import describe_carrier
from apps.fleet.recalls.schemas import RecallBody, RetryBody
from apps.fleet.recalls.serializers import (
    CarrierPageSerializer,
    CarrierQuery,
    RecallDetailSerializer,
    RecallDeviceSerializer,
    RecallItemSerializer,
    RecallPreviewSerializer,
    RecallSerializer,
    RecallSubjectQuery,
)
from apps.fleet.recalls.states import DeviceOutcome, ItemKind, ItemOutcome, RecallState
from apps.fleet.recalls.subjects import find_subject
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import read_body


def build_choice(name: str, choices: list[str]) -> OpenApiParameter:
    return OpenApiParameter(name, str, enum=choices, description="Only these.")


def render_recall(request: Request, where: Project, pk: int) -> dict[str, Any]:
    recall: Any = queries.get_recall(request.actor, where, pk)
    recall.progress = queries.measure_progress(request.actor, recall)
    return dict(RecallDetailSerializer(recall, context={"project": where.slug}).data)


def preview_request(request: Request, where: Project) -> queries.RecallPreview:
    params = request.query_params
    subject = find_subject(
        request.actor, where, params.get("type", ""), params.get("id", ""), params.get("row") or None
    )
    return queries.preview_recall(request.actor, where, subject)


class RecallPreviewView(APIView):
    @extend_schema(operation_id="recalls_preview", parameters=[RecallSubjectQuery], responses=RecallPreviewSerializer)
    def get(self, request: Request, project: str) -> Response:
        """What carries it, and so what a recall would block, revoke and roll back. Nothing is changed."""
        return Response(RecallPreviewSerializer(preview_request(request, get_project(request.actor, project))).data)


class RecallCarriers(APIView):
    @extend_schema(operation_id="recalls_carriers", parameters=[CarrierQuery], responses=CarrierPageSerializer)
    def get(self, request: Request, project: str) -> Response:
        """The objects of one kind that carry it, a page at a time."""
        where, params = get_project(request.actor, project), request.query_params
        preview = preview_request(request, where)
        kind = params.get("kind", "")
        rows = queries.list_carrier_rows(request.actor, where, preview, kind)
        page = paginate(rows, params, order=("pk",))
        items = [describe_carrier(preview, kind, row) for row in page.items]
        return Response(CarrierPageSerializer({"items": items, "next": page.next}).data)


class RecallList(GenericAPIView[Recall]):
    serializer_class = RecallSerializer
    queryset = Recall.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="recalls_list",
        parameters=[build_choice("state", RecallState.values)],
        responses=RecallSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The recalls of the project, newest first."""
        where = get_project(request.actor, project)
        recalls = queries.list_recalls(request.actor, where, state=request.query_params.get("state", ""))
        rows = self.paginate_queryset(recalls) or []
        return self.get_paginated_response(RecallSerializer(rows, many=True, context={"project": where.slug}).data)

    @extend_schema(operation_id="recalls_start", request=RecallBody, responses={201: RecallDetailSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Block all model versions that carry it, at once; the plane then revokes their releases and rolls aliases,
        endpoints and devices back. It needs nobody's approval."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "recall.start", where)  # before the body: who may not, learns nothing of it
        body = read_body(RecallBody, request.data)
        recall = services.start_recall(
            actor=request.actor,
            project=where,
            subject=find_subject(request.actor, where, body.type, body.id, body.row),
            reason=body.reason,
            note=body.note,
            exact_only=body.exact_only,
            quarantine=body.quarantine,
        )
        document = render_recall(request, where, recall.pk)
        headers = {"Location": document["links"]["self"]}
        return Response(document, status=status.HTTP_201_CREATED, headers=headers)


class RecallDetail(APIView):
    @extend_schema(operation_id="recalls_retrieve", responses=RecallDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One recall: what was blocked, revoked and rolled back, and what still runs it."""
        return Response(render_recall(request, get_project(request.actor, project), pk))


class RecallRetry(APIView):
    @extend_schema(operation_id="recalls_retry", request=RetryBody, responses=RecallDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Try again what has failed, devices that did not go back too."""
        where = get_project(request.actor, project)
        recall = queries.get_recall(request.actor, where, pk)
        policy.require(request.actor, "recall.retry", recall)
        services.retry_recall(actor=request.actor, recall=recall, reason=read_body(RetryBody, request.data).reason)
        return Response(render_recall(request, where, pk))


class RecallItems(GenericAPIView[RecallItem]):
    serializer_class = RecallItemSerializer
    queryset = RecallItem.objects.none()
    page_order = ("id",)

    @extend_schema(
        operation_id="recalls_items",
        parameters=[build_choice("kind", ItemKind.values), build_choice("outcome", ItemOutcome.values)],
        responses=RecallItemSerializer(many=True),
    )
    def get(self, request: Request, project: str, pk: int) -> Response:
        """What the recall acts on but devices: versions, releases, aliases, endpoints."""
        recall = queries.get_recall(request.actor, get_project(request.actor, project), pk)
        params = request.query_params
        items = queries.list_items(
            request.actor, recall, kind=params.get("kind", ""), outcome=params.get("outcome", "")
        )
        rows = self.paginate_queryset(items) or []
        return self.get_paginated_response(RecallItemSerializer(rows, many=True).data)


class RecallDevices(GenericAPIView[RecallDevice]):
    serializer_class = RecallDeviceSerializer
    queryset = RecallDevice.objects.none()
    page_order = ("id",)

    @extend_schema(
        operation_id="recalls_devices",
        parameters=[build_choice("outcome", DeviceOutcome.values)],
        responses=RecallDeviceSerializer(many=True),
    )
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The devices of the recall, with what became of each."""
        recall = queries.get_recall(request.actor, get_project(request.actor, project), pk)
        outcome = request.query_params.get("outcome", "")
        rows = self.paginate_queryset(queries.list_recall_devices(request.actor, recall, outcome=outcome)) or []
        return self.get_paginated_response(RecallDeviceSerializer(rows, many=True).data)
