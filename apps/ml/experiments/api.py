"""REST API of experiments and runs, read-only. Notes, tags, deletion and restoring: api_annotations.py."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import Invalid
from apps.core.lists.listing import build_day_parameters, filter_between_days
from apps.ml.experiments import queries
from apps.ml.experiments.metrics.csv_export import build_points_csv
from apps.ml.experiments.models import Experiment, Metric, MetricPoint, Run, RunArtifact
from apps.ml.experiments.queries import Columns, RunFilters
from apps.ml.experiments.serializers import (
    ComparisonSerializer,
    ExperimentSerializer,
    MetricSerializer,
    PointSerializer,
    RunArtifactSerializer,
    RunDetailSerializer,
    RunSerializer,
)
from apps.platform.accounts.projects import get_project
from deepseek.messages import N_

SORT = OpenApiParameter(
    "sort", str, description="started or metrics.<key>; - in front for downwards. Newest first if left out."
)
FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]
FILTERS += build_day_parameters("started")
DELETED = OpenApiParameter("deleted", str, enum=queries.DELETED, description="Only, or also, what was deleted.")
IDS = OpenApiParameter("ids", str, required=True, description="Run ids with commas between them.")
KEY = OpenApiParameter("key", str, required=True, description="Name of the metric.")
KEYS = OpenApiParameter("key", str, required=True, many=True, description="Names of metrics.")


class ExperimentsView(GenericAPIView[Experiment]):
    """The experiments of a project, newest first. Number 0 is Default."""

    serializer_class = ExperimentSerializer
    queryset = Experiment.objects.none()  # for the schema alone
    page_order = ("-number",)

    @extend_schema(operation_id="experiments_list", parameters=[DELETED], responses=ExperimentSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        deleted = request.query_params.get("deleted", "")
        experiments = queries.list_experiments(request.actor, get_project(request.actor, project), deleted)
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(experiments), many=True).data)


class RunsView(GenericAPIView[Run]):
    """The runs of a project. Ordered by a metric, only those for which it is a number."""

    serializer_class = RunSerializer
    queryset = Run.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("-started_at", "-id")

    @extend_schema(operation_id="runs_list", parameters=[*FILTERS, SORT], responses=RunSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        where = get_project(request.actor, project)
        filters = RunFilters(**{name: request.query_params.get(name, "") for name in queries.FILTERS})
        key, down = queries.parse_order(request.query_params.get("sort", ""))
        self.page_order = queries.get_page_order(key, down)
        rows: Any = (
            queries.list_by_metric(request.actor, where, filters, key)
            if key
            else queries.list_runs(request.actor, where, filters)
        )
        rows = filter_between_days(rows, "run__started_at" if key else "started_at", request.query_params, "started")
        runs = [row.run if key else row for row in self.paginate_queryset(rows) or ()]
        columns = queries.build_columns(runs, first=[key] if key else (), params=False)
        context = {"project": where.slug, "columns": columns}
        return self.get_paginated_response(RunSerializer(runs, many=True, context=context).data)


class RunView(APIView):
    @extend_schema(operation_id="runs_retrieve", responses=RunDetailSerializer)
    def get(self, request: Request, project: str, run: str) -> Response:
        """Everything of one run but its points: params, environment, figures, artifacts, digests."""
        visible_run = get_visible_run(request, project, run)
        artifacts, more = queries.list_first_artifacts(request.actor, visible_run, queries.MAX_ARTIFACTS)
        context = {
            "project": visible_run.project.slug,
            "columns": queries.build_columns([visible_run], params=False),
            "params": queries.list_params(request.actor, visible_run),
            "artifacts": artifacts,
            "artifacts_truncated": more,
        }
        return Response(RunDetailSerializer(visible_run, context=context).data)


class MetricsView(GenericAPIView[Metric]):
    """The metrics of a run in the order of their names, each with its newest, lowest and highest value."""

    serializer_class = MetricSerializer
    queryset = Metric.objects.none()  # for the schema alone
    page_order = ("key",)

    @extend_schema(operation_id="run_metrics_list", responses=MetricSerializer(many=True))
    def get(self, request: Request, project: str, run: str) -> Response:
        page = self.paginate_queryset(queries.list_metrics(request.actor, get_visible_run(request, project, run)))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class HistoryView(GenericAPIView[MetricPoint]):
    """Every point of one metric of a run, by step."""

    serializer_class = PointSerializer
    queryset = MetricPoint.objects.none()  # for the schema alone
    page_order = ("step", "id")

    @extend_schema(operation_id="run_metrics_history", parameters=[KEY], responses=PointSerializer(many=True))
    def get(self, request: Request, project: str, run: str) -> Response:
        metric = queries.get_metric(
            request.actor, get_visible_run(request, project, run), request.query_params.get("key", "")
        )
        page = self.paginate_queryset(MetricPoint.objects.filter(metric=metric))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class ArtifactsView(GenericAPIView[RunArtifact]):
    """The artifacts of a run in the order of their paths."""

    serializer_class = RunArtifactSerializer
    queryset = RunArtifact.objects.none()  # for the schema alone
    page_order = ("path",)

    @extend_schema(operation_id="run_artifacts_list", responses=RunArtifactSerializer(many=True))
    def get(self, request: Request, project: str, run: str) -> Response:
        page = self.paginate_queryset(queries.list_artifacts(request.actor, get_visible_run(request, project, run)))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class CompareView(APIView):
    @extend_schema(operation_id="runs_compare", parameters=[IDS], responses=ComparisonSerializer)
    def get(self, request: Request, project: str) -> Response:
        """Two to twenty runs side by side: their params, those that differ first, and their newest metrics."""
        where = get_project(request.actor, project)
        comparison = queries.compare_runs(
            request.actor, where, queries.parse_run_ids(request.query_params.getlist("ids"))
        )
        context = {"project": where.slug, "columns": Columns()}
        return Response(ComparisonSerializer(comparison, context=context).data)


class PointsCsvView(APIView):
    @extend_schema(
        operation_id="runs_points_csv", parameters=[IDS, KEYS], responses={(200, "text/csv"): OpenApiTypes.STR}
    )
    def get(self, request: Request, project: str) -> StreamingHttpResponse:
        """Every point of these metrics of these runs, as CSV: run, key, step, value, at."""
        where = get_project(request.actor, project)
        ids, keys = queries.parse_run_ids(request.query_params.getlist("ids")), request.query_params.getlist("key")
        if not ids or not keys:
            raise Invalid(
                "Name runs and metrics.", field="key" if ids else "ids", hint=N_("?ids=<run>,<run>&key=<metric>")
            )
        return build_points_csv(queries.list_named_metrics(request.actor, where, ids, keys))


def get_visible_run(request: Request, project: str, run: str) -> Run:
    return queries.get_run(request.actor, get_project(request.actor, project), run)
