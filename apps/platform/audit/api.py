"""REST: read, verify and export the trail."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.platform.audit.models import AuditRecord
from apps.platform.audit.queries import get_chain_state, read_records
from apps.platform.audit.query import parse_export_request, parse_filters
from apps.platform.audit.serializers import AuditRecordSerializer, ChainStateSerializer, VerificationAskedSerializer
from apps.platform.audit.trail_export import start_export, stream
from apps.platform.audit.verification_runs import request_verification

FILTERS = [
    OpenApiParameter("actor", str, description="Name of a person, service account or part of the plane."),
    OpenApiParameter(
        "action",
        str,
        description="`job.submit`, several by commas, a family with its dot (`user.`), or a part of names: `approve`",
    ),
    OpenApiParameter("object_type", str),
    OpenApiParameter("object_id", str),
    OpenApiParameter("project", str, description="Slug."),
    OpenApiParameter("request", str, description="Request id: all that one call has written."),
    OpenApiParameter("job", int, description="What was done in the name of this job."),
    OpenApiParameter("record", int, description="Number in the chain."),
    OpenApiParameter("result", str, enum=["done", "refused", "failed"]),
    OpenApiParameter("from", str, description="Date or time, included."),
    OpenApiParameter("to", str, description="Date (included) or time (excluded)."),
]
RANGE = [
    OpenApiParameter(
        "from_seq", int, description="First record; when left out 1, or with filters the first that matches."
    ),
    OpenApiParameter(
        "to_seq", int, description="Last record; when left out the newest, or with filters the last that matches."
    ),
    OpenApiParameter("project", str, description="Slug: records of other projects come by digest only."),
    OpenApiParameter("reason", str, description="Goes into the trail as written."),
    *(parameter for parameter in FILTERS if parameter.name != "project"),
]


@extend_schema_view(get=extend_schema(parameters=FILTERS, operation_id="audit_records"))
class Records(ListAPIView[AuditRecord]):
    """Records, newest first. The auditor sees all and is recorded; a member sees those of their projects."""

    serializer_class = AuditRecordSerializer
    page_order = ("-id",)
    queryset = AuditRecord.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[AuditRecord]:
        actor = self.request.actor  # type: ignore[attr-defined]
        return read_records(actor, parse_filters(actor, self.request.query_params))


class Chain(APIView):
    """Where the chain stands, and what the last verification found."""

    @extend_schema(responses=ChainStateSerializer, operation_id="audit_chain")
    def get(self, request: Request) -> Response:
        return Response(ChainStateSerializer(get_chain_state(request.actor).as_dict()).data)  # type: ignore[attr-defined]


class Verify(APIView):
    """Verify what is new at once, and queue a walk of the whole chain; one that is open is joined."""

    @extend_schema(request=None, responses={202: VerificationAskedSerializer}, operation_id="audit_verify")
    def post(self, request: Request) -> Response:
        run, recent = request_verification(actor=request.actor)  # type: ignore[attr-defined]
        payload = {"verification": run, "recent": recent.as_dict() if recent else None}
        return Response(VerificationAskedSerializer(payload).data, status=202)


class Export(APIView):
    """JSON lines: a header with the public key, records, checkpoints, a signed manifest. `verify.py FILE` checks it.

    With filters, the records that they leave are written whole, at most 100,000, and the others of the range by digest
    only; the manifest names the filters.
    """

    @extend_schema(
        parameters=RANGE, responses={(200, "application/x-ndjson"): OpenApiTypes.BINARY}, operation_id="audit_export"
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        return export_response(request.actor, request.query_params)  # type: ignore[attr-defined]


def export_response(actor: Any, params: Any) -> StreamingHttpResponse:
    """Refusals and wrong ranges are raised here, before the first byte."""
    export = start_export(actor=actor, **parse_export_request(actor, params))
    name = f"audit-{export.first}-{export.last}.jsonl"
    return StreamingHttpResponse(
        stream(export),
        content_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
