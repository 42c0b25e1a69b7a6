"""Releases for programs: what devices may install, and the keys that say so."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.lists.pages import paginate
from apps.core.request_values import parse_int
from apps.fleet.releases import queries, services
from apps.fleet.releases.models import Release, ReleaseKey
from apps.fleet.releases.schemas import ReleaseBody, RevocationBody, VariantBody
from apps.fleet.releases.serializers import ReleaseDetailSerializer, ReleaseKeysSerializer, ReleaseSerializer
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import JobSerializer, read_body

FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]


def render_release(request: Request, where: Project, pk: int) -> dict[str, Any]:
    release = queries.get_release(request.actor, where, pk)
    return dict(ReleaseDetailSerializer(release, context={"project": where.slug}).data)


class ReleaseList(GenericAPIView[Release]):
    serializer_class = ReleaseSerializer
    queryset = Release.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="releases_list", parameters=FILTERS, responses=ReleaseSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The releases of the project, newest first."""
        where = get_project(request.actor, project)
        filters = {name: request.query_params.get(name, "") for name in queries.FILTERS}
        rows = self.paginate_queryset(queries.list_releases(request.actor, where, **filters)) or []
        return self.get_paginated_response(ReleaseSerializer(rows, many=True, context={"project": where.slug}).data)

    @extend_schema(operation_id="releases_issue", request=ReleaseBody, responses={201: ReleaseDetailSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Sign that devices may install a variant of an approved version. To go back to an older version, issue a new
        release of it."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "release.issue", where)  # before the body: who may not, learns nothing of it
        body = read_body(ReleaseBody, request.data)
        variant = queries.get_variant(request.actor, where, body.model, body.version, body.variant)
        release = services.issue_release(actor=request.actor, variant=variant, without_samples=body.without_samples)
        document = render_release(request, where, release.pk)
        headers = {"Location": document["links"]["self"]}
        return Response(document, status=status.HTTP_201_CREATED, headers=headers)


class ReleaseDetail(APIView):
    @extend_schema(operation_id="releases_retrieve", responses=ReleaseDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One release: its files, and the envelope that devices verify."""
        return Response(render_release(request, get_project(request.actor, project), pk))


class ReleaseRevoke(APIView):
    @extend_schema(operation_id="releases_revoke", request=RevocationBody, responses=ReleaseDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Let no device install it any more. Devices that run it go on until they get another release."""
        where = get_project(request.actor, project)
        release = queries.get_release(request.actor, where, pk)
        policy.require(request.actor, "release.revoke", release)
        reason = read_body(RevocationBody, request.data).reason
        services.revoke_release(actor=request.actor, release=release, reason=reason)
        return Response(render_release(request, where, pk))


class ReleaseSamples(APIView):
    @extend_schema(
        operation_id="releases_samples",
        request=VariantBody,
        responses={200: OpenApiResponse(JobSerializer, "A job has made them, or does."), 201: JobSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Make the samples by which a device checks a variant: rows with what it answers on the plane."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "release.prepare", where)
        body = read_body(VariantBody, request.data)
        variant = queries.get_variant(request.actor, where, body.model, body.version, body.variant)
        job, is_new = services.request_samples(actor=request.actor, variant=variant)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(JobSerializer(job, context={"project": where.slug}).data, status=code)


class ReleaseKeys(GenericAPIView[ReleaseKey]):
    serializer_class = ReleaseKeysSerializer
    queryset = ReleaseKey.objects.none()  # for the schema alone
    page_order = ("id",)

    @extend_schema(
        operation_id="release_keys_list",
        parameters=[
            OpenApiParameter("from", int, description="Only lists above this version."),
            OpenApiParameter("cursor", str, description="Of the keys: `next` of the page before."),
            OpenApiParameter("limit", int, description="Keys of a page, 1 to 200; 50 where it is not given."),
        ],
        responses=ReleaseKeysSerializer,
    )
    def get(self, request: Request) -> Response:
        """The keys that sign releases, a page of them, and the signed lists of them as devices get them. An answer has
        about 1 MB of lists: where the last is below `version`, ask again from it."""
        keys = queries.list_keys(request.actor)
        text = request.query_params.get("from", "0")
        since = parse_int(text, high=2**31 - 1)
        if since is None:
            raise Invalid("from is {found!r}.", found=text[:20], field="from", limit="a version, 0 or above")
        page = paginate(keys, request.query_params, order=self.page_order)
        document = {
            **queries.get_key_lists(since=since, is_paged=True),
            "fingerprint": queries.get_fingerprint(),
            "keys": page.items,
            "next": page.next,
        }
        return Response(ReleaseKeysSerializer(document).data)
