"""Studies that this plane takes part in, and its egress ledger, for programs."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.actors import Actor
from apps.core.lists.listing import read_filter_values
from apps.ml.federation import exports, queries, services
from apps.ml.federation import serializers as bodies
from apps.ml.federation.ledger_checks import iter_ledger_lines
from apps.ml.federation.models import LedgerEntry, SiteStudy
from apps.ml.federation.states import SiteStudyState
from apps.ml.federation.validation import get_named_version
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.audit.services import record

FILTERS = ("study", "site", "round", "kind", "since", "until")
FILTER_HELP = {
    "study": "Number of a study of this site.",
    "site": "What the coordinator calls this site.",
    "round": "Of a study, from 1.",
    "kind": "join, update, skip, evaluation, leave or refused.",
    "since": "YYYY-MM-DD (UTC), included.",
    "until": "YYYY-MM-DD (UTC), included.",
}
PLANE_FILTERS = ("project", *FILTERS)
PLANE_FILTER_HELP = {"project": "Slug of a project.", **FILTER_HELP}


def get_project_site_study(request: Request, project: str, pk: int) -> SiteStudy:
    return queries.get_site_study(request.actor, get_project(request.actor, project), pk)


def render_site_study(request: Request, project: str, pk: int) -> dict[str, Any]:
    return dict(bodies.SiteStudyDetailSerializer(get_project_site_study(request, project, pk)).data)


class SiteStudyList(GenericAPIView[SiteStudy]):
    serializer_class = bodies.SiteStudySerializer
    queryset = SiteStudy.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="site_studies_list",
        parameters=[OpenApiParameter("state", str, enum=SiteStudyState.values, description="Only these.")],
        responses=bodies.SiteStudySerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The studies that this plane takes part in, newest first."""
        where = get_project(request.actor, project)
        rows = queries.list_site_studies(request.actor, where, state=request.query_params.get("state", ""))
        return self.get_paginated_response(
            bodies.SiteStudySerializer(self.paginate_queryset(rows) or [], many=True).data
        )

    @extend_schema(
        operation_id="site_studies_import", request=bodies.BundleBody, responses={201: bodies.SiteStudyDetailSerializer}
    )
    def post(self, request: Request, project: str) -> Response:
        """Take in an invitation. The keys of this site are made here, and stay here."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "federation.import_study", where)
        content = parse_body(bodies.BundleBody, request)["file"]
        row = services.import_study(actor=request.actor, project=where, content=content)
        return Response(render_site_study(request, project, row.pk), status=status.HTTP_201_CREATED)


class SiteStudyDetail(APIView):
    @extend_schema(operation_id="site_studies_retrieve", responses=bodies.SiteStudyDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One study: what runs here, and what leaves."""
        return Response(render_site_study(request, project, pk))


class SiteStudyCode(APIView):
    @extend_schema(operation_id="site_studies_code", responses=bodies.StudyCodeSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The code that runs here."""
        return Response({"files": queries.read_code(request.actor, get_project_site_study(request, project, pk))})


class SiteStudyData(APIView):
    @extend_schema(
        operation_id="site_studies_bind_data", request=bodies.SiteDataBody, responses=bodies.SiteStudyDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Choose the dataset version that the study trains on; another one voids an approval."""
        row = get_project_site_study(request, project, pk)
        policy.require(request.actor, "federation.bind_data", row)
        reference = parse_body(bodies.SiteDataBody, request)["data"]
        version = get_named_version(request.actor, row.project, reference)
        services.bind_data(actor=request.actor, site_study=row, version=version)
        return Response(render_site_study(request, project, pk))


class SiteStudyRequest(APIView):
    @extend_schema(operation_id="site_studies_request", responses=bodies.BundleSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The enrolment request that is carried to the coordinator; it holds no private key."""
        row = get_project_site_study(request, project, pk)
        return Response({"file": exports.render_site_request(request.actor, row)})


class SiteStudyCertify(APIView):
    @extend_schema(
        operation_id="site_studies_certify", request=bodies.BundleBody, responses=bodies.SiteStudyDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Import the certificate that the coordinator signed for this site."""
        row = get_project_site_study(request, project, pk)
        policy.require(request.actor, "federation.import_study", row)
        content = parse_body(bodies.BundleBody, request)["file"]
        services.store_certificate(actor=request.actor, site_study=row, content=content)
        return Response(render_site_study(request, project, pk))


class SiteStudyApproval(APIView):
    @extend_schema(operation_id="site_studies_request_approval", request=bodies.SiteApprovalBody, responses={201: dict})
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Ask the approvers of this site whether it takes part."""
        row = get_project_site_study(request, project, pk)
        policy.require(request.actor, "federation.request_approval", row)
        comment = parse_body(bodies.SiteApprovalBody, request)["comment"]
        approval = services.request_participation(actor=request.actor, site_study=row, comment=comment)
        return Response(
            {"approval": approval.pk, "facts_digest": approval.facts_digest}, status=status.HTTP_201_CREATED
        )


class SiteStudyJoin(APIView):
    @extend_schema(
        operation_id="site_studies_join", request=bodies.JoinStudyBody, responses=bodies.SiteStudyDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Queue the job that trains here and sends updates, as was approved."""
        row = get_project_site_study(request, project, pk)
        policy.require(request.actor, "federation.join_study", row)
        proxy = parse_body(bodies.JoinStudyBody, request)["proxy"]
        services.join_study(actor=request.actor, site_study=row, proxy=proxy)
        return Response(render_site_study(request, project, pk))


class SiteStudyLeave(APIView):
    @extend_schema(
        operation_id="site_studies_leave", request=bodies.StudyReasonBody, responses=bodies.SiteStudyDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Leave for good, at any time."""
        row = get_project_site_study(request, project, pk)
        policy.require(request.actor, "federation.leave_study", row)
        reason = parse_body(bodies.StudyReasonBody, request)["reason"]
        services.leave_study(actor=request.actor, site_study=row, reason=reason)
        return Response(render_site_study(request, project, pk))


# -- what left ------------------------------------------------------------------------------------------------------
class LedgerList(GenericAPIView[LedgerEntry]):
    serializer_class = bodies.EgressEntrySerializer
    queryset = LedgerEntry.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="egress_ledger_list",
        parameters=[OpenApiParameter(name, str, description=text) for name, text in FILTER_HELP.items()],
        responses=bodies.EgressEntrySerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """All that ever left for a study, and what was refused; the last reported first."""
        where = get_project(request.actor, project)
        filters = read_filter_values(request.query_params, FILTERS)
        rows = queries.list_ledger(request.actor, where, **filters)
        return self.get_paginated_response(
            bodies.EgressEntrySerializer(self.paginate_queryset(rows) or [], many=True).data
        )


class PlaneLedgerList(GenericAPIView[LedgerEntry]):
    serializer_class = bodies.PlaneEgressEntrySerializer
    queryset = LedgerEntry.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="plane_egress_ledger_list",
        parameters=[OpenApiParameter(name, str, description=text) for name, text in PLANE_FILTER_HELP.items()],
        responses=bodies.PlaneEgressEntrySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """All that ever left this plane for a study, over all projects, and what was refused: for the auditor."""
        rows = queries.list_plane_ledger(request.actor, **read_filter_values(request.query_params, PLANE_FILTERS))
        return self.get_paginated_response(
            bodies.PlaneEgressEntrySerializer(self.paginate_queryset(rows) or [], many=True).data
        )


class LedgerFile(APIView):
    @extend_schema(operation_id="egress_ledger_file", responses={(200, "application/x-ndjson"): OpenApiTypes.BINARY})
    def get(self, request: Request, project: str, pk: int) -> StreamingHttpResponse:
        """The ledger of one study of this site as JSON lines, each signed and chained to the one before."""
        return build_ledger_response(request.actor, get_project_site_study(request, project, pk))


def build_ledger_response(actor: Actor, row: SiteStudy) -> StreamingHttpResponse:
    """The file. Taking it away is recorded, as that of any list."""
    record(
        actor=actor,
        action="list.export",
        object_type="list",
        object_id="ledger",
        project_id=row.project_id,
        after={"site_study": row.pk},
    )
    headers = {"Content-Disposition": f'attachment; filename="ledger-{row.pk}.jsonl"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(iter_ledger_lines(row), content_type="application/x-ndjson", headers=headers)
