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
from apps.ml.registry.api import get_request_version
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
from apps.ml.registry.evaluations.sets import find_set, format_set_reference
from apps.ml.registry.gates.verdicts import build_refusal, evaluate_gates, list_gates
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
        project_row = get_project(request.actor, project)
        every = request.query_params.get("revisions") == "all"
        page = self.paginate_queryset(evaluation_queries.list_sets(request.actor, project_row, superseded=every))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="evaluation_sets_create", request=EvaluationSetBody, responses={201: EvaluationSetSerializer}
    )
    def post(self, request: Request, project: str) -> Response:
        """Make a set of a dataset version. It never changes; `supersede` makes its next revision."""
        project_row = get_project(request.actor, project)
        policy.require(request.actor, "evaluation_set.create", project_row)
        body = validate_body(EvaluationSetBody, request.data)
        dataset, which = body.pop("dataset"), body.pop("version")
        version = dataset_reads.get_version(request.actor, project_row, dataset, which)
        evaluation_set = evaluations.create_evaluation_set(
            actor=request.actor, project=project_row, dataset_version=version, **body
        )
        headers = {"Location": f"{request.path}/{format_set_reference(evaluation_set)}"}
        return Response(EvaluationSetSerializer(evaluation_set).data, status=status.HTTP_201_CREATED, headers=headers)


class EvaluationSetView(APIView):
    @extend_schema(operation_id="evaluation_sets_read", responses=EvaluationSetSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """The current revision of a set by its name, or one revision by name-r2."""
        evaluation_set = evaluation_queries.get_set(request.actor, get_project(request.actor, project), name)
        return Response(EvaluationSetSerializer(evaluation_set).data)


class VersionEvaluationsView(GenericAPIView[Evaluation]):
    """The evaluations of a version, newest first; POST queues the job that makes one."""

    serializer_class = EvaluationSerializer
    queryset = Evaluation.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="model_versions_evaluations", responses=EvaluationSerializer(many=True))
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        version_row = get_request_version(request, project, name, version)
        page = self.paginate_queryset(evaluation_queries.list_evaluations(request.actor, version_row))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="model_versions_evaluate",
        request=EvaluateBody,
        responses={200: OpenApiResponse(JobDetailSerializer, "A job does it already."), 201: JobDetailSerializer},
    )
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Queue the job that measures a variant of this version on a set; of a version that a client registered, the
        predictions that it made on the table of the set."""
        version_row = get_request_version(request, project, name, version)
        policy.require(request.actor, "job.submit", version_row.model)
        body = validate_body(EvaluateBody, request.data)
        on = find_set(version_row.model.project, body.pop("set"))
        target = {"actor": request.actor, "version": version_row, "on": on}
        predictions, horizon = body.pop("predictions"), body.pop("horizon")
        if predictions:
            refuse_timing(body)
            job, is_new = submit_predictions(**target, predictions=predictions, horizon=horizon)
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
            job, is_new = evaluations.submit_evaluation(**target, variant=variant, timing=body)
        status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(serialize_job(request, version_row.model.project, job), status=status_code)


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
        evaluation: Any = evaluation_queries.get_evaluation(request.actor, get_project(request.actor, project), pk)
        evaluation.read = evaluation_queries.parse_document(evaluation)
        return Response(EvaluationDetailSerializer(evaluation).data)


class BaselinesView(APIView):
    @extend_schema(operation_id="models_baselines", parameters=[SET, METRIC], responses=BaselinesSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """A metric over the versions of the model on one set, by variant, each with its interval."""
        project_row = get_project(request.actor, project)
        model = queries.get_model(request.actor, project_row, name)
        on = find_set(project_row, request.query_params.get("set", ""))
        metric = request.query_params.get("metric") or on.primary_metric
        lines = [
            {
                "variant": line.variant,
                "points": [
                    {
                        "version": number,
                        "evaluation": evaluation.pk,
                        "metric": evaluation_queries.find_metric(evaluation.metrics, metric),
                    }
                    for number, evaluation in line.points
                ],
            }
            for line in evaluation_queries.list_metric_lines(request.actor, model, on)
        ]
        return Response(BaselinesSerializer({"set": format_set_reference(on), "metric": metric, "lines": lines}).data)


class GatesView(APIView):
    @extend_schema(operation_id="gates_list", responses=GateSerializer(many=True))
    def get(self, request: Request, project: str, name: str) -> Response:
        """What is asked of every version of the model before its promotion may be asked for; 20 at most."""
        model = queries.get_model(request.actor, get_project(request.actor, project), name)
        return Response(GateSerializer(list_gates(model.pk), many=True).data)

    @extend_schema(operation_id="gates_set", request=GateBody, responses={201: GateSerializer})
    def post(self, request: Request, project: str, name: str) -> Response:
        """Set a gate; one on the same set, metric and variant is replaced. Takes an approver."""
        project_row = get_project(request.actor, project)
        model = queries.get_model(request.actor, project_row, name)
        policy.require(request.actor, "gate.set", model)
        body = validate_body(GateBody, request.data)
        on, number = find_set(project_row, body.pop("set")), body.pop("baseline")
        baseline = queries.get_version(request.actor, project_row, name, str(number)) if number else None
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
        version_row = get_request_version(request, project, name, version)
        results: list[Any] = [gate_result_as_dict(version_row, result) for result in evaluate_gates(version_row)]
        payload = {
            "lets_through": all(result["lets_through"] for result in results),
            "gates": results,
            "history": evaluation_queries.list_verdicts(request.actor, version_row),
        }
        return Response(VersionGatesSerializer(payload).data)


def gate_result_as_dict(version: Any, result: Any) -> dict[str, Any]:
    names = ("gate", "state", "lets_through", "candidate", "baseline", "against", "outcome")
    hint = "" if result.lets_through else build_refusal(version, result)["hint"]
    return {**{name: getattr(result, name) for name in names}, "hint": hint}
