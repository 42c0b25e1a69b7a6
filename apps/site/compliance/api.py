"""Compliance for programs: reading with a token, asking for a run and writing in a session (no token has the scope)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.artifacts.downloads import download
from apps.site.compliance import queries, services
from apps.site.compliance.models import Attachment, EvidenceRun
from apps.site.compliance.serializers import (
    AttachmentBody,
    AttachmentSerializer,
    ComplianceSerializer,
    EvidenceRunSerializer,
    GapBody,
    GapSerializer,
    WithdrawBody,
)
from apps.site.compliance.views import build_document_holding, build_folder_holding


class ComplianceDetail(APIView):
    @extend_schema(operation_id="compliance_retrieve", responses=ComplianceSerializer)
    def get(self, request: Request) -> Response:
        """Every clause as the newest run found it."""
        run = queries.get_newest_run(request.actor)
        answer = {"run": run, "clauses": queries.list_clause_statuses(request.actor, run)}
        return Response(ComplianceSerializer(answer).data)


class EvidenceRunList(ListAPIView[EvidenceRun]):
    serializer_class = EvidenceRunSerializer
    queryset = EvidenceRun.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        return queries.list_runs(self.request.actor)

    @extend_schema(operation_id="compliance_runs_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Evidence runs, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="compliance_runs_create", request=None, responses={202: EvidenceRunSerializer})
    def post(self, request: Request) -> Response:
        """Queue an evidence run."""
        run = services.request_run(actor=request.actor)
        return Response(EvidenceRunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class EvidenceRunDetail(APIView):
    @extend_schema(operation_id="compliance_runs_retrieve", responses=ComplianceSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """Every clause as this run found it."""
        run = queries.get_run(request.actor, pk)
        answer = {"run": run, "clauses": queries.list_clause_statuses(request.actor, run)}
        return Response(ComplianceSerializer(answer).data)


class EvidenceRunFolder(APIView):
    @extend_schema(operation_id="compliance_runs_folder", responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """The signed folder of the run, as a zip. Recorded."""
        policy.require(request.actor, "compliance.export")
        run = queries.get_run(request.actor, pk)
        return download(request._request, build_folder_holding(request.actor, run))


class ClauseGap(APIView):
    @extend_schema(operation_id="compliance_gap_update", request=GapBody, responses=GapSerializer)
    def put(self, request: Request, clause: str) -> Response:
        """Name who closes the gap of a clause, and until when."""
        policy.require(request.actor, "compliance.set_gap")
        match = queries.get_clause(clause)
        gap = services.set_gap(actor=request.actor, clause=match.id, **parse_body(GapBody, request))
        return Response(GapSerializer(gap).data)


class DocumentList(ListAPIView[Attachment]):
    serializer_class = AttachmentSerializer
    queryset = Attachment.objects.none()  # for the schema alone
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        return queries.list_documents(self.request.actor)

    @extend_schema(operation_id="compliance_documents_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Attached documents, the newest first; those that were withdrawn or have ended too."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="compliance_documents_create", request=AttachmentBody, responses={201: AttachmentSerializer}
    )
    def post(self, request: Request) -> Response:
        """Attach a document to a clause."""
        policy.require(request.actor, "compliance.attach")
        body = parse_body(AttachmentBody, request)
        content = body.pop("content")
        row = services.attach_document(actor=request.actor, content=[content], **body)
        return Response(AttachmentSerializer(row).data, status=status.HTTP_201_CREATED)


class DocumentFile(APIView):
    @extend_schema(
        operation_id="compliance_documents_file", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """The bytes of a document. Recorded."""
        policy.require(request.actor, "compliance.export")
        row = queries.get_document(request.actor, pk)
        return download(request._request, build_document_holding(request.actor, row))


class DocumentWithdrawal(APIView):
    @extend_schema(operation_id="compliance_documents_withdraw", request=WithdrawBody, responses=AttachmentSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Let a document count no more."""
        policy.require(request.actor, "compliance.withdraw")
        row = queries.get_document(request.actor, pk)
        body = parse_body(WithdrawBody, request)
        row = services.withdraw_document(actor=request.actor, attachment=row, reason=body["reason"])
        return Response(AttachmentSerializer(row).data)
