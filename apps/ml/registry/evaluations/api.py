"""Evaluations over REST: sets, measuring a version on one, a metric over versions, gates and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.data.datasets import queries as dataset_reads
from apps.data.datasets.requests import validate_body
from apps.ml.registry import queries
from apps.ml.registry.api import found_version
from apps.ml.registry.evaluations import queries as evaluation_queries
from apps.ml.registry.evaluations.serializers import (
    BaselinesSerializer,
    EvaluateBody,
    EvaluationDetailSerializer,
    EvaluationSerializer,
    EvaluationSetBody,
    EvaluationSetSerializer,
    GateBody,
    GateReasonBody,
    GateSerializer,
    VersionGatesSerializer,
)
from apps.ml.registry.evaluations.sets import find_set, reference
from apps.ml.registry.gates.verdicts import gates_of, judge, refusal
from apps.ml.registry.models import Evaluation, EvaluationSet
from apps.ml.registry.services import evaluations
from apps.ml.registry.services.predictions import submit_predictions
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.api import serialize_job
from apps.platform.jobs.serializers import JobDetailSerializer
from deepseek.messages import N_

ALL = OpenApiParameter("revisions", str, description="all: superseded revisions too.")
SET = OpenApiParameter("set", str, required=True, description="Name of a set, or one revision of it: holdout-r2.")
METRIC = OpenApiParameter("metric", str, description="The set's primary metric if it is not given.")


class EvaluationSetsView(GenericAPIView[EvaluationSet]):
    """The evaluation sets of a project, newest first; POST makes one, or its next revision."""

    serializer_class = EvaluationSetSerializer
    queryset = EvaluationSet.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="evaluation_sets_list", parameters=[ALL], responses=EvaluationSetSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        within = get_project(request.actor, project)
        every = request.query_params.get("revisions") == "all"
        page = self.paginate_queryset(evaluation_queries.list_sets(request.actor, within, superseded=every))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="evaluation_sets_create", request=EvaluationSetBody, responses={201: EvaluationSetSerializer}
    )
    def post(self, request: Request, project: str) -> Response:
        """Make a set of a dataset version. It never changes; `supersede` makes its next revision."""
        within = get_project(request.actor, project)
        policy.require(request.actor, "evaluation_set.create", within)
        body = validate_body(EvaluationSetBody, request.data)
        dataset, which = body.pop("dataset"), body.pop("version")
        version = dataset_reads.get_version(request.actor, within, dataset, which)
        made = evaluations.create_evaluation_set(actor=request.actor, project=within, dataset_version=version, **body)
        headers = {"Location": f"{request.path}/{reference(made)}"}
        return Response(EvaluationSetSerializer(made).data, status=status.HTTP_201_CREATED, headers=headers)


class EvaluationSetView(APIView):
    @extend_schema(operation_id="evaluation_sets_read", responses=EvaluationSetSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """The current revision of a set by its name, or one revision by name-r2."""
        found = evaluation_queries.get_set(request.actor, get_project(request.actor, project), name)
        return Response(EvaluationSetSerializer(found).data)


class VersionEvaluationsView(GenericAPIView[Evaluation]):
    """The evaluations of a version, newest first; POST queues the job that makes one."""

    serializer_class = EvaluationSerializer
    queryset = Evaluation.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="model_versions_evaluations", responses=EvaluationSerializer(many=True))
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        found = found_version(request, project, name, version)
        page = self.paginate_queryset(evaluation_queries.list_evaluations(request.actor, found))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="model_versions_evaluate",
        request=EvaluateBody,
        responses={200: OpenApiResponse(JobDetailSerializer, "A job does it already."), 201: JobDetailSerializer},
    )
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Queue the job that measures a variant of this version on a set; of a version that a client registered, the
        predictions that it made on the table of the set."""
        found = found_version(request, project, name, version)
        policy.require(request.actor, "job.submit", found.model)
        body = validate_body(EvaluateBody, request.data)
        on = find_set(found.model.project, body.pop("set"))
        asked = {"actor": request.actor, "version": found, "on": on}
        predictions, horizon = body.pop("predictions"), body.pop("horizon")
        if predictions:
            refuse_timing(body)
            job, is_new = submit_predictions(**asked, predictions=predictions, horizon=horizon)
        elif horizon is not None:
            raise Invalid(
                "horizon is given without predictions.",
                code="horizon_not_taken",
                field="horizon",
                limit="a horizon of predictions",
                hint="Leave it out: what the plane trained says how far it looks ahead.",
            )
        else:
            variant = body.pop("variant")
            job, is_new = evaluations.submit_evaluation(**asked, variant=variant, timing=body)
        made = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(serialize_job(request, found.model.project, job), status=made)


def refuse_timing(body: Mapping[str, Any]) -> None:
    """Raise Invalid for what is asked of a model that runs: with predictions none does."""
    for name, value in body.items():
        if value not in (None, ""):
            raise Invalid(
                "{name} is given with predictions, and then no model runs.",
                name=name,
                code="predictions_alone",
                field=name,
                limit="set, predictions, horizon",
                hint=N_("Leave it out."),
            )


class EvaluationView(APIView):
    @extend_schema(operation_id="evaluations_read", responses=EvaluationDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """An evaluation whole: metrics with intervals, slices, calibration, latency, memory."""
        found: Any = evaluation_queries.get_evaluation(request.actor, get_project(request.actor, project), pk)
        found.read = evaluation_queries.document_of(found)
        return Response(EvaluationDetailSerializer(found).data)


class BaselinesView(APIView):
    @extend_schema(operation_id="models_baselines", parameters=[SET, METRIC], responses=BaselinesSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """A metric over the versions of the model on one set, by variant, each with its interval."""
        within = get_project(request.actor, project)
        model = queries.get_model(request.actor, within, name)
        on = find_set(within, request.query_params.get("set", ""))
        metric = request.query_params.get("metric") or on.primary_metric
        lines = [
            {
                "variant": line.variant,
                "points": [
                    {
                        "version": number,
                        "evaluation": one.pk,
                        "metric": evaluation_queries.metric_of(one.metrics, metric),
                    }
                    for number, one in line.points
                ],
            }
            for line in evaluation_queries.over_versions(request.actor, model, on)
        ]
        return Response(BaselinesSerializer({"set": reference(on), "metric": metric, "lines": lines}).data)


class GatesView(APIView):
    @extend_schema(operation_id="gates_list", responses=GateSerializer(many=True))
    def get(self, request: Request, project: str, name: str) -> Response:
        """What is asked of every version of the model before its promotion may be asked for; 20 at most."""
        model = queries.get_model(request.actor, get_project(request.actor, project), name)
        return Response(GateSerializer(gates_of(model.pk), many=True).data)

    @extend_schema(operation_id="gates_set", request=GateBody, responses={201: GateSerializer})
    def post(self, request: Request, project: str, name: str) -> Response:
        """Set a gate; one on the same set, metric and variant is replaced. Takes an approver."""
        within = get_project(request.actor, project)
        model = queries.get_model(request.actor, within, name)
        policy.require(request.actor, "gate.set", model)
        body = validate_body(GateBody, request.data)
        on, number = find_set(within, body.pop("set")), body.pop("baseline")
        baseline = queries.get_version(request.actor, within, name, str(number)) if number else None
        gate = evaluations.set_gate(actor=request.actor, model=model, on=on, baseline=baseline, **body)
        headers = {"Location": f"{request.path}/{gate.pk}"}
        return Response(GateSerializer(gate).data, status=status.HTTP_201_CREATED, headers=headers)


class GateView(APIView):
    @extend_schema(operation_id="gates_remove", request=GateReasonBody, responses={204: None})
    def delete(self, request: Request, project: str, name: str, pk: int) -> Response:
        """Lift a gate, with a reason. What it said stays. Takes an approver."""
        model = queries.get_model(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "gate.set", model)
        body = validate_body(GateReasonBody, request.data)
        gate = evaluations.get_gate(model, pk)
        evaluations.remove_gate(actor=request.actor, gate=gate, **body)
        return Response(status=status.HTTP_204_NO_CONTENT)


class VersionGatesView(APIView):
    @extend_schema(operation_id="model_versions_gates", responses=VersionGatesSerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """What each gate says of the version now, and what gates said when a promotion was asked for."""
        found = found_version(request, project, name, version)
        judged: list[Any] = [shown(found, one) for one in judge(found)]
        told = {
            "lets_through": all(one["lets_through"] for one in judged),
            "gates": judged,
            "history": evaluation_queries.verdicts_of(request.actor, found),
        }
        return Response(VersionGatesSerializer(told).data)


def shown(version: Any, one: Any) -> dict[str, Any]:
    names = ("gate", "state", "lets_through", "candidate", "baseline", "against", "said")
    hint = "" if one.lets_through else refusal(version, one)["hint"]
    return {**{name: getattr(one, name) for name in names}, "hint": hint}
