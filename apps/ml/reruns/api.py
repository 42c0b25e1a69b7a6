"""REST API of reruns: preflight, submission and verdict, and the verdict on any two runs of the same kind."""

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
from apps.ml.experiments.models import Run
from apps.ml.experiments.queries import get_run
from apps.ml.reruns import queries, services
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.preflight import run_preflight
from apps.ml.reruns.serializers import (
    OutlookSerializer,
    RerunDetailSerializer,
    RerunSerializer,
    RunAgainBody,
    VerdictSerializer,
)
from apps.ml.reruns.states import RerunState
from apps.ml.reruns.tolerance import Tolerance, build_tolerance, parse_tolerance_number
from apps.ml.reruns.verdicts import compare_pair
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.api import WAIT_SECONDS, parse_bounded_int
from apps.platform.jobs.serializers import read_body
from apps.platform.jobs.streams import wait_while
from deepseek.messages import N_

KEY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key makes one rerun.")
AGAINST = OpenApiParameter("against", str, description="Another run of the same kind; of a rerun, its original.")
RELATIVE = OpenApiParameter("relative", float, description="Tolerance: share of the larger number; 0.0001 if left out.")
ABSOLUTE = OpenApiParameter("absolute", float, description="Tolerance in the number's unit; 1e-9 if left out.")
WAIT = OpenApiParameter("wait", int, description="Answer when it is judged, or after so many seconds, 0 to 60.")


def get_visible_run(request: Request, project: str, run: str) -> Run:
    return get_run(request.actor, get_project(request.actor, project), run)


def serialize_rerun(rerun: Rerun, slug: str) -> dict[str, Any]:
    return dict(RerunDetailSerializer(rerun, context={"project": slug}).data)


class RunAgainView(APIView):
    @extend_schema(operation_id="runs_rerun_outlook", responses=OutlookSerializer)
    def get(self, request: Request, project: str, run: str) -> Response:
        """What this run would be made of again, whether that is all there, and what is known to differ."""
        return Response(OutlookSerializer(run_preflight(request.actor, get_visible_run(request, project, run))).data)

    @extend_schema(
        operation_id="runs_rerun",
        parameters=[KEY],
        request=RunAgainBody,
        responses={200: OpenApiResponse(RerunDetailSerializer, "The key's first rerun."), 201: RerunDetailSerializer},
    )
    def post(self, request: Request, project: str, run: str) -> Response:
        """Make the run again from its record alone: the same spec, seed and bytes, as a new job with no past."""
        original = get_visible_run(request, project, run)
        policy.require(request.actor, "run.rerun", original)  # before the body: who may not, learns nothing of it
        body = read_body(RunAgainBody, request.data)
        rerun, is_new = services.rerun_run(
            actor=request.actor,
            run=original,
            tolerance=build_tolerance(body.tolerance.relative, body.tolerance.absolute),
            priority=body.priority,
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        payload = serialize_rerun(rerun, original.project.slug)
        headers = {"Location": payload["links"]["self"]}
        if is_new:
            return Response(payload, status=status.HTTP_201_CREATED, headers=headers)
        return Response(payload, headers={**headers, "Idempotent-Replayed": "true"})


class RerunsView(GenericAPIView[Rerun]):
    """The reruns of a run, newest first."""

    serializer_class = RerunSerializer
    queryset = Rerun.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="runs_reruns_list", responses=RerunSerializer(many=True))
    def get(self, request: Request, project: str, run: str) -> Response:
        original = get_visible_run(request, project, run)
        rows = self.paginate_queryset(queries.list_reruns(request.actor, original))
        context = {"project": original.project.slug}
        return self.get_paginated_response(RerunSerializer(rows, many=True, context=context).data)


class RerunView(APIView):
    @extend_schema(operation_id="reruns_retrieve", parameters=[WAIT], responses=RerunDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One rerun with its verdict; `verdict` is empty as long as it is not judged."""
        seconds = parse_bounded_int(request.query_params.get("wait", "0"), "wait", *WAIT_SECONDS)
        where = get_project(request.actor, project)
        rerun = queries.get_rerun(request.actor, where, pk)
        if seconds and not rerun.ended:
            wait_while(lambda: Rerun.objects.filter(pk=pk, state=RerunState.RUNNING).exists(), seconds)
            rerun = queries.get_rerun(request.actor, where, pk)
        return Response(serialize_rerun(rerun, where.slug))


class VerdictView(APIView):
    @extend_schema(operation_id="runs_verdict", parameters=[AGAINST, RELATIVE, ABSOLUTE], responses=VerdictSerializer)
    def get(self, request: Request, project: str, run: str) -> Response:
        """The verdict on this run beside another of its kind: identical, within tolerance, or different, and which
        inputs differ. Reads 50,000 points at most, and says `undecided` where that does not settle it; the verdict
        of a rerun reads them all.
        """
        where = get_project(request.actor, project)
        judged_run = get_run(request.actor, where, run)
        params = request.query_params
        against, tolerance = params.get("against", ""), parse_tolerance(request)
        if against:
            other_run = get_run(request.actor, where, against)
        else:
            rerun = queries.find_rerun_of_run(request.actor, judged_run)
            if rerun is None:
                raise Invalid(
                    "Run {found_pk} was not made again from another's record.",
                    found_pk=judged_run.pk,
                    field="against",
                    hint=N_("Name the run to judge it against: ?against=<run>."),
                )
            other_run = get_run(request.actor, where, rerun.original_id)
        document = compare_pair(actor=request.actor, run=judged_run, against=other_run, tolerance=tolerance)
        return Response(VerdictSerializer(document).data)


def parse_tolerance(request: Request) -> Tolerance:
    params = request.query_params
    return build_tolerance(*(parse_tolerance_number(params.get(name, ""), name) for name in ("relative", "absolute")))
