"""REST views of data quality: profile a version, its drift, the expectations of a dataset."""

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
from apps.data.datasets.quality.drift import find_baseline, get_drift
from apps.data.datasets.quality.pandera_schemas import (
    LegacyYamlParser,
    TextYamlParser,
    YamlParser,
    parse_pandera_expectations,
)
from apps.data.datasets.quality.profile_jobs import measure_version
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.requests import validate_body
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
        in_project = get_project(request.actor, project)
        policy.require(request.actor, "job.submit", in_project)
        dataset_version = queries.get_version(request.actor, in_project, name, version)
        job, is_new = measure_version(actor=request.actor, version=dataset_version)
        return build_job_response(request, in_project, job, status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


class DriftView(APIView):
    @extend_schema(
        operation_id="dataset_versions_drift",
        parameters=[AGAINST],
        responses={200: OpenApiTypes.OBJECT, 204: OpenApiResponse(description="One of the two is not measured.")},
    )
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """How far this version has moved from another one (schema plane/drift/v1)."""
        dataset_version = queries.get_version(request.actor, get_project(request.actor, project), name, version)
        baseline = find_baseline(request.actor, dataset_version, request.query_params.get("against", ""))
        if baseline is None:
            raise Invalid(
                "{version} was made from no version, and none is before it.",
                version=dataset_version,
                field="against",
                hint=N_("Name a version to compare with: ?against=1"),
            )
        drift = get_drift(request.actor, dataset_version, baseline.version)
        if drift is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        against = {"dataset": baseline.version.dataset.name, "version": baseline.version.number}
        return Response({**drift, "against": against})


class ExpectationsView(APIView):
    """What every new version of the dataset must hold; PUT replaces it whole."""

    @extend_schema(operation_id="dataset_expectations_read", responses=ExpectationsBody)
    def get(self, request: Request, project: str, name: str) -> Response:
        dataset = queries.get_dataset(request.actor, get_project(request.actor, project), name)
        return Response({"expectations": dataset.expectations})

    @extend_schema(operation_id="dataset_expectations_set", request=ExpectationsBody, responses=ExpectationsBody)
    def put(self, request: Request, project: str, name: str) -> Response:
        in_project = get_project(request.actor, project)
        policy.require(request.actor, "dataset.set_expectations", in_project)
        dataset = queries.get_dataset(request.actor, in_project, name)
        body = validate_body(ExpectationsBody, request.data)
        updated = set_expectations(actor=request.actor, dataset=dataset, expectations=body["expectations"])
        return Response({"expectations": updated.expectations})


class PanderaView(APIView):
    parser_classes = [*APIView.parser_classes, YamlParser, LegacyYamlParser, TextYamlParser]

    @extend_schema(
        operation_id="dataset_expectations_set_pandera",
        request={"application/yaml": OpenApiTypes.STR, "application/json": OpenApiTypes.OBJECT},
        responses=ExpectationsBody,
    )
    def put(self, request: Request, project: str, name: str) -> Response:
        """The expectations of a dataset from a pandera schema, as `to_yaml()` or `to_json()` writes it; all or none.

        A check that expectations cannot say is refused by its name.
        """
        in_project = get_project(request.actor, project)
        policy.require(request.actor, "dataset.set_expectations", in_project)
        dataset = queries.get_dataset(request.actor, in_project, name)
        expectations = parse_pandera_expectations(request.data)
        updated = set_expectations(actor=request.actor, dataset=dataset, expectations=expectations)
        return Response({"expectations": updated.expectations})


def build_job_response(request: Request, project: Project, job: Job, code: int) -> Response:
    data = serialize_job(request, project, job)
    return Response(data, status=code, headers={"Location": data["links"]["self"]})
