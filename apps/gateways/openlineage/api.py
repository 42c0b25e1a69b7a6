"""OpenLineage over HTTP: receive events of other tools from the stock clients, and serve events of our jobs."""

from __future__ import annotations

import zlib
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Malformed, Refused, TooLarge
from apps.gateways.openlineage.events import list_job_events, list_pipeline_events
from apps.gateways.openlineage.models import LineageEvent
from apps.gateways.openlineage.queries import list_events
from apps.gateways.openlineage.services import receive_event
from apps.ml.pipelines.queries import get_pipeline
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.artifacts.request_body import WrongMediaType
from apps.platform.jobs.queries import get_job
from deepseek.messages import N_

RUN = OpenApiParameter("run", str, description="Only the events of this run: a UUID.")
NAMESPACE = OpenApiParameter("namespace", str, description="With `name`: only the events of this job.")
NAME = OpenApiParameter("name", str, description="With `namespace`: only the events of this job.")


class LineageEventSerializer(serializers.ModelSerializer[LineageEvent]):
    event = serializers.JSONField(help_text="As it came.")

    class Meta:
        model = LineageEvent
        fields = ["id", "digest", "kind", "event_type", "event_time", "run_id", "received_by", "received_at", "event"]
        read_only_fields = fields


class ReceiveView(APIView):
    """`POST {url}/api/v1/lineage`, as the OpenLineage clients send it; the project is that of the token."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        unpack(request._request)

    @extend_schema(
        operation_id="openlineage_receive",
        request=OpenApiTypes.OBJECT,
        responses={
            201: OpenApiResponse(description="Stored. The body is empty."),
            200: OpenApiResponse(description="It was there already. The body is empty."),
        },
    )
    def post(self, request: Request) -> Response:
        project = get_token_project(request)
        policy.require(request.actor, "lineage.record", project)
        _stored, is_new = receive_event(actor=request.actor, project=project, event=request.data)
        return Response(status=201 if is_new else 200)


def get_token_project(request: Request) -> Project:
    """The one project of the token; Refused by session: it would have to be guessed."""
    actor = request.actor
    if actor.is_anonymous:
        policy.require(actor, "lineage.record")
    if actor.token_id is None or len(actor.project_ids) != 1:
        raise Refused(
            "Events are taken with a token: it names the project that they belong to.",
            action="lineage.record",
            hint=N_("Authorization: Bearer <token of the project with the scope data:write>"),
        )
    return Project.objects.visible_to(actor).get(pk=next(iter(actor.project_ids)))


def unpack(request: HttpRequest) -> None:
    """Put the plain body in the place of one that was sent with Content-Encoding: gzip; bounded before and after."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return
    if coding not in ("gzip", "x-gzip"):
        raise WrongMediaType(
            "The body is encoded as {coding}.",
            coding=coding[:40],
            field="Content-Encoding",
            limit="gzip",
            hint=N_("Send it plain."),
        )
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    packed = request.body
    reader = zlib.decompressobj(wbits=31)
    try:
        data = reader.decompress(packed, limit + 1)
    except zlib.error as failure:
        raise Malformed("The body is not gzip: {failure}.", failure=failure, field="Content-Encoding") from None
    if len(data) > limit:
        raise TooLarge("The body is larger than {most} bytes.", most=limit, limit=limit, hint=N_("Send fewer facets."))
    if not reader.eof:
        raise Malformed("The body ended early.", code="body_cut_off", hint=N_("Send it again."))
    request._body = data  # type: ignore[attr-defined]  # what request.body gives, and so the parser, from here on
    request.META["CONTENT_LENGTH"] = str(len(data))


class EventsView(GenericAPIView[LineageEvent]):
    """The events that a project has received, newest first."""

    serializer_class = LineageEventSerializer
    queryset = LineageEvent.objects.none()  # for the schema alone

    @extend_schema(
        operation_id="openlineage_events",
        parameters=[RUN, NAMESPACE, NAME],
        responses=LineageEventSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        filters = {name: request.query_params.get(name, "") for name in ("run", "namespace", "name")}
        page = self.paginate_queryset(list_events(request.actor, get_project(request.actor, project), **filters))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class JobEventsView(APIView):
    @extend_schema(operation_id="jobs_openlineage", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The OpenLineage events of a job, as they are told outside: {"events": [...]}, the oldest first."""
        job = get_job(request.actor, get_project(request.actor, project), pk)
        return Response({"events": list_job_events(request.actor, job)})


class PipelineEventsView(APIView):
    @extend_schema(operation_id="pipelines_openlineage", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The OpenLineage events of the jobs of a pipeline, the oldest first; its run is their parent."""
        pipeline = get_pipeline(request.actor, get_project(request.actor, project), pk)
        return Response({"events": list_pipeline_events(request.actor, pipeline)})
