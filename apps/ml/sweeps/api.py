"""Sweeps for programs: begin one, look at it and its trials, cancel it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.ml.sweeps import queries, services
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.schemas import SweepBody, load_request, read_sweep_request
from apps.ml.sweeps.serializers import SweepDetailSerializer, SweepSerializer, TrialSerializer
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import ReasonBody, read_body

FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]
KEY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key makes one sweep.")
MADE = {200: OpenApiResponse(SweepDetailSerializer, "The key's first sweep."), 201: SweepDetailSerializer}


def get_project_sweep(request: Request, project: str, pk: int) -> tuple[Project, Sweep]:
    where = get_project(request.actor, project)
    return where, queries.get_sweep(request.actor, where, pk)


def render_sweep(where: Project, sweep: Sweep) -> dict[str, Any]:
    trials = queries.list_trials(sweep)
    counts = {sweep.pk: Counter(trial.state for trial in trials)}
    context = {"project": where.slug, "counts": counts, "trials": trials}
    return dict(SweepDetailSerializer(sweep, context=context).data)


class SweepList(GenericAPIView[Sweep]):
    serializer_class = SweepSerializer
    queryset = Sweep.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="sweeps_list", parameters=FILTERS, responses=SweepSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The sweeps of the project, newest first."""
        where = get_project(request.actor, project)
        filters = {name: request.query_params.get(name, "") for name in queries.FILTERS}
        rows = self.paginate_queryset(queries.list_sweeps(request.actor, where, **filters)) or []
        context = {"project": where.slug, "counts": queries.count_trials(row.pk for row in rows)}
        return self.get_paginated_response(SweepSerializer(rows, many=True, context=context).data)

    @extend_schema(operation_id="sweeps_create", parameters=[KEY], request=SweepBody, responses=MADE)
    def post(self, request: Request, project: str) -> Response:
        """Begin a sweep: the dispatcher queues its trials as jobs, and chooses the values of the next by the last."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "sweep.submit", where)  # before the body: who may not, learns nothing of it
        sweep_request = read_sweep_request(request.data, idempotency_key=request.headers.get("Idempotency-Key"))
        sweep, is_new = services.create_sweep(actor=request.actor, project=where, request=sweep_request)
        body = render_sweep(where, sweep)
        headers = {"Location": body["links"]["self"]}
        if is_new:
            return Response(body, status=status.HTTP_201_CREATED, headers=headers)
        return Response(body, headers={**headers, "Idempotent-Replayed": "true"})


class SweepDetail(APIView):
    @extend_schema(operation_id="sweeps_retrieve", responses=SweepDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One sweep: how many of its trials are in which state, the best one, and how much each parameter mattered."""
        return Response(render_sweep(*get_project_sweep(request, project, pk)))


class SweepTrials(GenericAPIView[SweepTrial]):
    serializer_class = TrialSerializer
    queryset = SweepTrial.objects.none()  # for the schema alone
    page_order = ("number",)

    @extend_schema(operation_id="sweeps_trials_list", responses=TrialSerializer(many=True))
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The trials of a sweep by number, each with its values, its job and run, and why it was pruned or failed."""
        where, sweep = get_project_sweep(request, project, pk)
        rows = self.paginate_queryset(sweep.trials.select_related("job__run"))
        context = {"project": where.slug, "names": [each.name for each in load_request(sweep).settings.space]}
        return self.get_paginated_response(TrialSerializer(rows, many=True, context=context).data)


class SweepCancel(APIView):
    @extend_schema(operation_id="sweeps_cancel", request=ReasonBody, responses=SweepDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End the sweep now: no further trial starts, and the workers of those that run are asked to stop them."""
        where, sweep = get_project_sweep(request, project, pk)
        policy.require(request.actor, "sweep.cancel", sweep)
        reason = read_body(ReasonBody, request.data).reason
        services.cancel_sweep(actor=request.actor, sweep=sweep, reason=reason)
        return Response(render_sweep(where, sweep))
