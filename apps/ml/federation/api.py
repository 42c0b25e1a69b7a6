"""Studies for programs: what a coordinator defines, which sites take part, and how its rounds go."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.ml.federation import exports, queries, services
from apps.ml.federation import serializers as bodies
from apps.ml.federation.models import RoundResult, Site, Study
from apps.ml.federation.states import StudyState
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project


def get_project_study(request: Request, project: str, pk: int) -> Study:
    return queries.get_study(request.actor, get_project(request.actor, project), pk)


def get_study_site(request: Request, project: str, pk: int, name: str) -> Site:
    return queries.get_site(request.actor, get_project_study(request, project, pk), name)


def render_study(request: Request, project: str, pk: int) -> dict[str, Any]:
    return dict(bodies.StudyDetailSerializer(get_project_study(request, project, pk)).data)


class StudyList(GenericAPIView[Study]):
    serializer_class = bodies.StudySerializer
    queryset = Study.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="studies_list",
        parameters=[OpenApiParameter("state", str, enum=StudyState.values, description="Only these.")],
        responses=bodies.StudySerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The studies that this plane coordinates, newest first."""
        where = get_project(request.actor, project)
        rows = queries.list_studies(request.actor, where, state=request.query_params.get("state", ""))
        return self.get_paginated_response(bodies.StudySerializer(self.paginate_queryset(rows) or [], many=True).data)

    @extend_schema(
        operation_id="studies_create", request=bodies.NewStudyBody, responses={201: bodies.StudyDetailSerializer}
    )
    def post(self, request: Request, project: str) -> Response:
        """Define a study. Nothing of it changes afterwards."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "federation.create_study", where)
        body = parse_body(bodies.NewStudyBody, request)
        study = services.create_study(actor=request.actor, project=where, **body)
        return Response(render_study(request, project, study.pk), status=status.HTTP_201_CREATED)


class StudyDetail(APIView):
    @extend_schema(operation_id="studies_retrieve", responses=bodies.StudyDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One study with its document, its sites and its result."""
        return Response(render_study(request, project, pk))


class StudyCode(APIView):
    @extend_schema(operation_id="studies_code", responses=bodies.StudyCodeSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The code that its sites run."""
        return Response({"files": queries.read_code(request.actor, get_project_study(request, project, pk))})


class StudyStart(APIView):
    @extend_schema(
        operation_id="studies_start", request=bodies.StudyOptionsBody, responses=bodies.StudyDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Queue the job that serves the study to the sites that have joined."""
        study = get_project_study(request, project, pk)
        policy.require(request.actor, "federation.start_study", study)
        options = parse_body(bodies.StudyOptionsBody, request)
        services.start_study(actor=request.actor, study=study, options=options)
        return Response(render_study(request, project, pk))


class StudyStop(APIView):
    @extend_schema(operation_id="studies_stop", request=bodies.StudyReasonBody, responses=bodies.StudyDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End the study for good."""
        study = get_project_study(request, project, pk)
        policy.require(request.actor, "federation.stop_study", study)
        reason = parse_body(bodies.StudyReasonBody, request)["reason"]
        services.stop_study(actor=request.actor, study=study, reason=reason)
        return Response(render_study(request, project, pk))


class StudyRegister(APIView):
    @extend_schema(
        operation_id="studies_register", request=bodies.RegisterStudyBody, responses=bodies.StudyDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Make the result a model version, whose lineage names sites, rounds and budget."""
        study = get_project_study(request, project, pk)
        policy.require(request.actor, "federation.register_result", study)
        model = parse_body(bodies.RegisterStudyBody, request)["model"]
        services.register_result(actor=request.actor, study=study, model=model)
        return Response(render_study(request, project, pk))


class StudyRounds(GenericAPIView[RoundResult]):
    serializer_class = bodies.RoundResultSerializer
    queryset = RoundResult.objects.none()  # for the schema alone
    page_order = ("number",)

    @extend_schema(operation_id="studies_rounds", responses=bodies.RoundResultSerializer(many=True))
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The rounds so far."""
        rows = queries.list_rounds(request.actor, get_project_study(request, project, pk))
        return self.get_paginated_response(
            bodies.RoundResultSerializer(self.paginate_queryset(rows) or [], many=True).data
        )


# -- sites ----------------------------------------------------------------------------------------------------------
class StudySites(APIView):
    @extend_schema(
        operation_id="study_sites_invite",
        request=bodies.NewStudySiteBody,
        responses={201: bodies.StudySiteSerializer},
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Name a site, whose invitation can then be downloaded."""
        study = get_project_study(request, project, pk)
        policy.require(request.actor, "federation.invite_site", study)
        name = parse_body(bodies.NewStudySiteBody, request)["name"]
        site = services.invite_site(actor=request.actor, study=study, name=name)
        return Response(bodies.StudySiteSerializer(site).data, status=status.HTTP_201_CREATED)


class StudySiteDetail(APIView):
    @extend_schema(operation_id="study_sites_retrieve", responses=bodies.StudySiteSerializer)
    def get(self, request: Request, project: str, pk: int, name: str) -> Response:
        """One site of the study."""
        return Response(bodies.StudySiteSerializer(get_study_site(request, project, pk, name)).data)

    @extend_schema(operation_id="study_sites_remove", request=None, responses={200: bodies.StudySiteSerializer})
    def delete(self, request: Request, project: str, pk: int, name: str) -> Response:
        """Take a site out of a study that does not run."""
        site = services.remove_site(actor=request.actor, site=get_study_site(request, project, pk, name))
        return Response(bodies.StudySiteSerializer(site).data)


class StudyInvitation(APIView):
    @extend_schema(operation_id="study_sites_invitation", responses=bodies.BundleSerializer)
    def get(self, request: Request, project: str, pk: int, name: str) -> Response:
        """The invitation that is carried to the site's plane: document, code, address, authority; no private key."""
        site = get_study_site(request, project, pk, name)
        return Response({"file": exports.render_site_invitation(request.actor, site)})


class StudyEnrol(APIView):
    @extend_schema(operation_id="study_sites_enrol", request=bodies.BundleBody, responses=bodies.StudySiteSerializer)
    def post(self, request: Request, project: str, pk: int, name: str) -> Response:
        """Sign the certificate that a site requests."""
        site = get_study_site(request, project, pk, name)
        policy.require(request.actor, "federation.enrol_site", site)
        content = parse_body(bodies.BundleBody, request)["file"]
        return Response(
            bodies.StudySiteSerializer(services.enrol_site(actor=request.actor, site=site, content=content)).data
        )


class StudyCertificate(APIView):
    @extend_schema(operation_id="study_sites_certificate", responses=bodies.BundleSerializer)
    def get(self, request: Request, project: str, pk: int, name: str) -> Response:
        """The certificate that is carried back to the site's plane."""
        return Response(
            {"file": exports.render_site_certificate(request.actor, get_study_site(request, project, pk, name))}
        )
