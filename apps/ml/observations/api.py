"""Observations for programs: sources, batches of predictions and labels, figures, and dataset versions of a period."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.request_values import MAX_INT32, parse_int
from apps.ml.observations import queries, services
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.queries import GROUPINGS, Period, parse_time
from apps.ml.observations.schemas import DatasetBody, LabelBatch, PredictionBatch, SourceBody, SourceChanges
from apps.ml.observations.serializers import BatchResultSerializer, FiguresAnswerSerializer, SourceSerializer
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import JobSerializer, read_body

KEY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key makes one job.")
DAY = timedelta(days=1)
FILTERS = ("kind", "name", "model")


def render_source(where: Project, source: ObservationSource) -> dict[str, Any]:
    return dict(SourceSerializer(source, context={"project": where.slug}).data)


class SourceList(GenericAPIView[ObservationSource]):
    serializer_class = SourceSerializer
    queryset = ObservationSource.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="observation_sources_list",
        parameters=[OpenApiParameter(name, str, description="Only these.") for name in FILTERS],
        responses=SourceSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The endpoints and devices whose predictions come here, newest first."""
        where = get_project(request.actor, project)
        filters = {name: request.query_params.get(name, "") for name in FILTERS}
        rows = self.paginate_queryset(queries.list_sources(request.actor, where, **filters)) or []
        return self.get_paginated_response(SourceSerializer(rows, many=True, context={"project": where.slug}).data)

    @extend_schema(operation_id="observation_sources_create", request=SourceBody, responses={201: SourceSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Make an endpoint or device known, so that it may send."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "observation.configure", where)
        body = read_body(SourceBody, request.data)
        source = services.create_source(actor=request.actor, project=where, body=body)
        answer = render_source(where, source)
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Location": answer["links"]["self"]})


class SourceDetail(APIView):
    @extend_schema(operation_id="observation_sources_retrieve", responses=SourceSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """One source, with its sampling rate. It takes the scope `read`, which the token of a sender need not have."""
        where = get_project(request.actor, project)
        return Response(render_source(where, queries.get_source(request.actor, where, name)))

    @extend_schema(operation_id="observation_sources_update", request=SourceChanges, responses=SourceSerializer)
    def patch(self, request: Request, project: str, name: str) -> Response:
        """Change the sampling rate or the retention."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "observation.configure", where)
        source = queries.get_source(request.actor, where, name)
        changes = read_body(SourceChanges, request.data)
        services.update_source(actor=request.actor, source=source, changes=changes)
        return Response(render_source(where, source))


def record_batch(
    request: Request, project: str, model: type[BaseModel], write: Callable[..., services.BatchResult]
) -> Response:
    where = get_project(request.actor, project)
    policy.require(request.actor, "observation.record", where)
    data = request.data  # parses it, and keeps its text
    batch = read_body(model, data, getattr(request, "json_text", b""))
    source = queries.get_recording_source(request.actor, where, batch.source)
    result = write(actor=request.actor, source=source, rows=batch.rows)
    return Response(asdict(result))


class PredictionList(APIView):
    @extend_schema(operation_id="observations_predictions", request=PredictionBatch, responses=BatchResultSerializer)
    def post(self, request: Request, project: str) -> Response:
        """Take a batch of predictions, all rows or none. A row that came before with equal content counts once."""
        return record_batch(request, project, PredictionBatch, services.record_predictions)


class LabelList(APIView):
    @extend_schema(operation_id="observations_labels", request=LabelBatch, responses=BatchResultSerializer)
    def post(self, request: Request, project: str) -> Response:
        """Take a batch of labels, all rows or none. A label may come before its prediction, and long after."""
        return record_batch(request, project, LabelBatch, services.record_labels)


class FiguresView(APIView):
    @extend_schema(
        operation_id="observations_figures",
        parameters=[
            OpenApiParameter("since", str, description="ISO 8601; a day ago if left out."),
            OpenApiParameter("until", str, description="ISO 8601; now if left out."),
            OpenApiParameter("by", str, enum=list(GROUPINGS), description="Groups; hour if left out."),
            *(OpenApiParameter(name, str, description="Only these.") for name in ("source", "model", "variant")),
            OpenApiParameter("version", int, description="Only this number; name the model too."),
            OpenApiParameter("shadow", bool, description="Of candidates in shadow instead."),
        ],
        responses=FiguresAnswerSerializer,
    )
    def get(self, request: Request, project: str) -> Response:
        """The figures of a period, in all and by group: counts, labelled share, accuracy or error with interval."""
        where = get_project(request.actor, project)
        query = request.query_params
        policy.require(request.actor, "observation.view", where)
        now = timezone.now()
        until = parse_time(query["until"], "until") if query.get("until") else now
        since = parse_time(query["since"], "since") if query.get("since") else until - DAY
        period = Period(since, until)
        narrow: dict[str, Any] = {name: query.get(name, "") for name in ("source", "model", "variant")}
        narrow["version"] = read_version(query.get("version", ""))
        narrow["shadow"] = query.get("shadow", "") in ("true", "1")
        answer = {
            "since": since,
            "until": until,
            "total": queries.get_period_figures(request.actor, where, period, **narrow),
            "groups": queries.list_figures(request.actor, where, period, by=query.get("by") or "hour", **narrow),
            "classes": queries.list_class_counts(request.actor, where, period, **narrow),
        }
        return Response(FiguresAnswerSerializer(answer).data)


def read_version(text: str) -> int | None:
    if not text:
        return None
    number = parse_int(text, 1, MAX_INT32)
    if number is None:
        raise Invalid("{text!r} is no version.", text=text[:40], field="version", limit="a number from 1")
    return number


class DatasetList(APIView):
    @extend_schema(
        operation_id="observations_datasets",
        parameters=[KEY],
        request=DatasetBody,
        responses={202: OpenApiResponse(JobSerializer, "The job that makes the version.")},
    )
    def post(self, request: Request, project: str) -> Response:
        """Queue a job that makes a dataset version of a period: predictions with their features and labels."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "observation.make_dataset", where)
        body = read_body(DatasetBody, request.data)
        source = queries.get_source(request.actor, where, body.source)
        key = request.headers.get("Idempotency-Key")
        job = services.create_dataset_version(
            actor=request.actor, source=source, dataset=body.dataset, spec=body.build_spec(), idempotency_key=key
        )
        data = JobSerializer(job, context={"project": where.slug}).data
        return Response(data, status=status.HTTP_202_ACCEPTED, headers={"Location": data["links"]["self"]})
