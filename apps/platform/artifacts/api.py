"""Artifacts over REST: bytes in, bytes out, and what is known of them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.lists.pages import paginate_in_memory, parse_limit
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.artifacts.digests import build_mismatch_error, parse_expected_digest, validate_digest
from apps.platform.artifacts.downloads import check_download, download
from apps.platform.artifacts.gc_preview import preview_garbage, read_age
from apps.platform.artifacts.lists import AGE, filter_by_reason, get_reason
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.request_body import name_in, open_body, prevent_form_parsing, refuse_forms
from apps.platform.artifacts.serializers import ArtifactSerializer, GarbagePageSerializer, GarbageQuery
from apps.platform.artifacts.services import get_holding, publish_upload
from apps.platform.artifacts.verification import release_connection

BYTES = {"application/octet-stream": OpenApiTypes.BINARY}
UPLOAD_HEADERS = [
    OpenApiParameter(
        "Content-Digest", str, OpenApiParameter.HEADER, description="`sha-256=:<base64>:` (RFC 9530); checked."
    ),
    OpenApiParameter("X-Content-Digest", str, OpenApiParameter.HEADER, description="`sha256:<hex>`; checked."),
    OpenApiParameter(
        "Content-Disposition",
        str,
        OpenApiParameter.HEADER,
        description='`attachment; filename="model.onnx"`: its name.',
    ),
]
PURPOSE = OpenApiParameter("purpose", str, description="What a file with personal data is used for; or X-Purpose.")
DOWNLOAD_HEADERS = [
    PURPOSE,
    OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range, `bytes=0-1023`."),
    OpenApiParameter("If-Range", str, OpenApiParameter.HEADER, description="The ETag that the range belongs to."),
    OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="304 when the ETag is among these."),
]
UPLOADED = {
    201: OpenApiResponse(ArtifactSerializer, description="Stored, and held by the project."),
    200: OpenApiResponse(ArtifactSerializer, description="The project held these bytes already."),
}


class ArtifactsView(GenericAPIView[Holding]):
    """The artifacts of a project, newest first; POST stores one whose digest is not known beforehand."""

    serializer_class = ArtifactSerializer
    queryset = Holding.objects.none()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        prevent_form_parsing(request._request)
        super().initial(request, *args, **kwargs)

    @extend_schema(operation_id="artifacts_list", responses=ArtifactSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        scope = get_project(request.actor, project)
        policy.require(request.actor, "artifact.view", scope)
        page = self.paginate_queryset(
            Holding.objects.readable_by(request.actor).filter(project=scope).select_related("artifact")
        )
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="artifacts_upload", request=BYTES, responses=UPLOADED, parameters=UPLOAD_HEADERS)
    def post(self, request: Request, project: str) -> Response:
        return upload(request, get_project(request.actor, project), digest=None)


class ArtifactView(APIView):
    """The bytes of one artifact, by SHA-256."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        prevent_form_parsing(request._request)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="artifacts_download",
        parameters=DOWNLOAD_HEADERS,
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            304: None,
        },
    )
    def get(self, request: Request, project: str, digest: str) -> HttpResponseBase:
        holding = get_holding(actor=request.actor, project=get_project(request.actor, project), digest=digest)
        check_download(request.actor, holding, request._request)
        release_connection()
        return download(request._request, holding)

    @extend_schema(operation_id="artifacts_put", request=BYTES, responses=UPLOADED, parameters=UPLOAD_HEADERS)
    def put(self, request: Request, project: str, digest: str) -> Response:
        return upload(request, get_project(request.actor, project), digest=digest)


class ArtifactInfoView(APIView):
    """What is known of one artifact, without its bytes."""

    @extend_schema(operation_id="artifacts_info", responses=ArtifactSerializer)
    def get(self, request: Request, project: str, digest: str) -> Response:
        holding = get_holding(actor=request.actor, project=get_project(request.actor, project), digest=digest)
        return Response(ArtifactSerializer(holding).data)


class GarbageView(APIView):
    @extend_schema(operation_id="artifacts_garbage", parameters=[GarbageQuery], responses=GarbagePageSerializer)
    def get(self, request: Request) -> Response:
        """What a collection of garbage would take, by digest: the list of `manage.py collect_garbage --dry-run`."""
        policy.require(request.actor, "artifact.view_garbage")
        params = request.query_params
        look = preview_garbage(actor=request.actor, older_than=read_age(params.get("older_than") or AGE))
        garbage_rows = filter_by_reason(look.found, params.get("why", ""))
        cursor, limit = params.get("cursor") or None, parse_limit(params.get("limit"))
        page = paginate_in_memory(garbage_rows, key=lambda row: row.digest, order="digest", cursor=cursor, limit=limit)
        payload = {
            "items": [{"digest": row.digest, "size": row.size, "why": get_reason(row)} for row in page.items],
            "next": page.next,
            "artifacts": len(garbage_rows),
            "bytes": sum(row.size for row in garbage_rows),
            "complete": look.complete,
        }
        return Response(GarbagePageSerializer(payload).data)


def upload(request: Request, project: Project, *, digest: str | None) -> Response:
    """Store the body; 201 when the project did not hold it before, 200 when it did."""
    sent = request._request
    policy.require(request.actor, "artifact.upload", project)
    refuse_forms(sent)
    digest = validate_digest(digest) if digest is not None else None
    announced = parse_expected_digest(sent.headers.get("Content-Digest"), sent.headers.get("X-Content-Digest"))
    if digest and announced and digest != announced:
        raise build_mismatch_error(digest, announced)
    body = open_body(sent)
    release_connection()
    published = publish_upload(
        actor=request.actor,
        project=project,
        stream=body.chunks,
        expected_digest=digest or announced,
        expected_size=body.length,
        name=name_in(sent.headers.get("Content-Disposition")),
        media_type=sent.content_type or "",
    )
    where = request.path if digest else f"{request.path}/{published.artifact.digest}"
    return Response(
        ArtifactSerializer(published.holding).data,
        status=status.HTTP_201_CREATED if published.is_new else status.HTTP_200_OK,
        headers={"Location": where},
    )
