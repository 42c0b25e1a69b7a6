"""What is measured and expected of datasets, over REST: measure a version, its drift, the expectations of a dataset."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.data.datasets import queries
from apps.data.datasets.quality.drift import baseline_of, drift_between
from apps.data.datasets.quality.pandera_schemas import OldYamlParser, TextYamlParser, YamlParser, expectations_of
from apps.data.datasets.quality.profile_jobs import measure_version
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.requests import checked
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.api import serialize_job
from apps.platform.jobs.models import Job
from apps.platform.jobs.serializers import JobDetailSerializer
from deepseek.messages import N_

AGAINST = OpenApiParameter(
    "against", str, description="Number or digest of a version; else the one it was made from, else the one before."
)


class ExpectationsBody(serializers.Serializer[Any]):
    expectations = serializers.ListField(
        child=serializers.JSONField(),
        help_text="Objects with a `kind`, as the field `expectations` of the kind profile: see docs/quality.md.",
    )


class MeasureView(APIView):
    @extend_schema(
        operation_id="dataset_versions_measure",
        request=None,
        responses={200: OpenApiResponse(JobDetailSerializer, "A job measures it already."), 201: JobDetailSerializer},
    )
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Queue a job that measures this version; its report becomes the version's quality."""
        within = get_project(request.actor, project)
        policy.require(request.actor, "job.submit", within)
        found = queries.get_version(request.actor, within, name, version)
        job, is_new = measure_version(actor=request.actor, version=found)
        return job_answer(request, within, job, status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


class DriftView(APIView):
    @extend_schema(
        operation_id="dataset_versions_drift",
        parameters=[AGAINST],
        responses={200: OpenApiTypes.OBJECT, 204: OpenApiResponse(description="One of the two is not measured.")},
    )
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """How far this version has moved from another one (schema plane/drift/v1)."""
        found = queries.get_version(request.actor, get_project(request.actor, project), name, version)
        baseline = baseline_of(request.actor, found, request.query_params.get("against", ""))
        if baseline is None:
            raise Invalid(
                "{version} was made from no version, and none is before it.",
                version=found,
                field="against",
                hint=N_("Name a version to compare with: ?against=1"),
            )
        told = drift_between(request.actor, found, baseline.version)
        if told is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        other = {"dataset": baseline.version.dataset.name, "version": baseline.version.number}
        return Response({**told, "against": other})


class ExpectationsView(APIView):
    """What every new version of the dataset must hold; PUT replaces it whole."""

    @extend_schema(operation_id="dataset_expectations_read", responses=ExpectationsBody)
    def get(self, request: Request, project: str, name: str) -> Response:
        found = queries.get_dataset(request.actor, get_project(request.actor, project), name)
        return Response({"expectations": found.expectations})

    @extend_schema(operation_id="dataset_expectations_set", request=ExpectationsBody, responses=ExpectationsBody)
    def put(self, request: Request, project: str, name: str) -> Response:
        within = get_project(request.actor, project)
        policy.require(request.actor, "dataset.set_expectations", within)
        found = queries.get_dataset(request.actor, within, name)
        body = checked(ExpectationsBody, request.data)
        kept = set_expectations(actor=request.actor, dataset=found, expectations=body["expectations"])
        return Response({"expectations": kept.expectations})


class PanderaView(APIView):
    parser_classes = [*APIView.parser_classes, YamlParser, OldYamlParser, TextYamlParser]

    @extend_schema(
        operation_id="dataset_expectations_set_pandera",
        request={"application/yaml": OpenApiTypes.STR, "application/json": OpenApiTypes.OBJECT},
        responses=ExpectationsBody,
    )
    def put(self, request: Request, project: str, name: str) -> Response:
        """The expectations of a dataset from a pandera schema, as `to_yaml()` or `to_json()` writes it; all or none.

        A check that expectations cannot say is refused by its name.
        """
        within = get_project(request.actor, project)
        policy.require(request.actor, "dataset.set_expectations", within)
        found = queries.get_dataset(request.actor, within, name)
        made = expectations_of(request.data)
        kept = set_expectations(actor=request.actor, dataset=found, expectations=made)
        return Response({"expectations": kept.expectations})


def job_answer(request: Request, project: Project, job: Job, code: int) -> Response:
    shown = serialize_job(request, project, job)
    return Response(shown, status=code, headers={"Location": shown["links"]["self"]})
