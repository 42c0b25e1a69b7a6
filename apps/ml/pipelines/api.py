"""Pipelines for programs: submit, look, wait, follow, cancel, run again."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.lists.listing import build_day_parameters, filter_between_days
from apps.ml.pipelines import queries, services, streams
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.requests import RerunBody, read_pipeline_request
from apps.ml.pipelines.serializers import (
    PipelineDetailSerializer,
    PipelineSerializer,
    TemplateSerializer,
    pipeline_as_dict,
)
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.api import WAIT_SECONDS, parse_bounded_int
from apps.platform.jobs.serializers import ReasonBody, read_body
from apps.platform.jobs.streams import build_stream_response, release_connection, wait_while

FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]
FILTERS += build_day_parameters("made")
KEY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key makes one pipeline.")
MADE = {200: OpenApiResponse(PipelineDetailSerializer, "The key's first pipeline."), 201: PipelineDetailSerializer}


def get_project_pipeline(request: Request, project: str, pk: int) -> tuple[Project, Pipeline]:
    where = get_project(request.actor, project)
    return where, queries.get_pipeline(request.actor, where, pk)


def render_pipeline(where: Project, pipeline: Pipeline) -> dict[str, Any]:
    return pipeline_as_dict(where.slug, queries.load_pipeline(pipeline))


def respond_created(where: Project, pipeline: Pipeline, is_new: bool) -> Response:
    """201, or 200 with `Idempotent-Replayed: true` when the key was sent before."""
    body = render_pipeline(where, pipeline)
    headers = {"Location": body["links"]["self"]}
    if is_new:
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)
    return Response(body, headers={**headers, "Idempotent-Replayed": "true"})


class PipelineList(GenericAPIView[Pipeline]):
    serializer_class = PipelineSerializer
    queryset = Pipeline.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("-id",)

    @extend_schema(operation_id="pipelines_list", parameters=FILTERS, responses=PipelineSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The pipelines of the project, newest first."""
        where = get_project(request.actor, project)
        query = request.query_params
        pipelines = queries.list_pipelines(
            request.actor, where, **{name: query.get(name, "") for name in queries.FILTERS}
        )
        if query.get("made_after") or query.get("made_before"):
            self.page_order = ("-created_at", "-id")  # whose index holds these days in one piece
        rows = self.paginate_queryset(filter_between_days(pipelines, "created_at", query, "made")) or []
        context = {"project": where.slug, "summaries": queries.count_steps_by_state(row.pk for row in rows)}
        return self.get_paginated_response(PipelineSerializer(rows, many=True, context=context).data)

    @extend_schema(
        operation_id="pipelines_create",
        parameters=[KEY],
        request={"application/json": {"$ref": "#/components/schemas/PipelineSubmission"}},
        responses=MADE,
    )
    def post(self, request: Request, project: str) -> Response:
        """Queue the jobs of a template or of the steps given: all of them, or none if any is wrong."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "pipeline.submit", where)  # before the body: who may not, learns nothing of it
        key = request.headers.get("Idempotency-Key")
        pipeline_request = read_pipeline_request(request.actor, where, request.data, idempotency_key=key)
        return respond_created(
            where, *services.submit_pipeline(actor=request.actor, project=where, request=pipeline_request)
        )


class PipelineDetail(APIView):
    @extend_schema(operation_id="pipelines_retrieve", responses=PipelineDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """Everything of one pipeline: its steps with their jobs, states, progress and outputs."""
        return Response(render_pipeline(*get_project_pipeline(request, project, pk)))


class PipelineWait(APIView):
    timeout = OpenApiParameter("timeout", int, description="Seconds, 0 to 60; 30 if left out.")

    @extend_schema(operation_id="pipelines_wait", parameters=[timeout], responses=PipelineDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """Answer as soon as every job has ended, or with the states of now when the time is over."""
        seconds = parse_bounded_int(request.query_params.get("timeout", "30"), "timeout", *WAIT_SECONDS)
        where, pipeline = get_project_pipeline(request, project, pk)
        if seconds:
            wait_while(lambda: queries.is_moving(pk), seconds)
        return Response(render_pipeline(where, pipeline))


class PipelineEvents(APIView):
    seen = OpenApiParameter("seen", str, description="The id of the last message, to hear only of what came since.")
    last = OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="As a browser sends it.")

    @extend_schema(
        operation_id="pipelines_events",
        parameters=[seen, last],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request, project: str, pk: int) -> StreamingHttpResponse:
        """Server-Sent Events: `progress` of a step, `changed` when a state has, and `end`."""
        get_project_pipeline(request, project, pk)
        seen = request.headers.get("Last-Event-ID", "").strip() or request.query_params.get("seen", "")
        release_connection()
        return build_stream_response(streams.stream_messages(pk, seen))


class PipelineCancel(APIView):
    @extend_schema(operation_id="pipelines_cancel", request=ReasonBody, responses=PipelineDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Cancel every job that has not ended; the workers of those that run are asked to stop them."""
        where, pipeline = get_project_pipeline(request, project, pk)
        policy.require(request.actor, "pipeline.cancel", pipeline)
        reason = read_body(ReasonBody, request.data).reason
        services.cancel_pipeline(actor=request.actor, pipeline=pipeline, reason=reason)
        return Response(render_pipeline(where, pipeline))


class PipelineRerun(APIView):
    @extend_schema(operation_id="pipelines_rerun", parameters=[KEY], request=RerunBody, responses=MADE)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """A new pipeline of one step and all that waits for it, on what the other steps have made already."""
        where, pipeline = get_project_pipeline(request, project, pk)
        policy.require(request.actor, "pipeline.submit", pipeline)
        body = read_body(RerunBody, request.data)
        again = services.rerun_from(
            actor=request.actor,
            pipeline=pipeline,
            step=body.start,
            changes=body.changes,
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return respond_created(where, *again)


class TemplateList(APIView):
    @extend_schema(operation_id="pipeline_templates_list", responses=TemplateSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Every pipeline template, with the JSON Schema of its parameters."""
        rows = [
            {
                "template": name,
                "label": str(template.label),
                "doc": str(template.doc),
                "steps": template.kinds,
                "schema": template.parameters.model_json_schema(),
            }
            for name, template in TEMPLATES.items()
        ]
        return Response({"items": rows})
