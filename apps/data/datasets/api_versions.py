"""REST views of one version: its files, page by page, its tags, its row diff with another version."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.data.datasets import queries
from apps.data.datasets.models import DatasetFile, VersionTag
from apps.data.datasets.requests import validate_body
from apps.data.datasets.serializers import FileSerializer
from apps.data.datasets.versions.row_diff import find_latest_diff, submit_diff
from apps.data.datasets.versions.tags import remove_version_tag, tag_version
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.api import serialize_job
from apps.platform.jobs.serializers import JobDetailSerializer


class TagSerializer(serializers.ModelSerializer[VersionTag]):
    version = serializers.IntegerField(source="version.number", help_text="The number that it names.")

    class Meta:
        model = VersionTag
        fields = ["name", "version", "created_by", "created_at"]
        read_only_fields = fields


class TagBody(serializers.Serializer[Any]):
    move = serializers.BooleanField(default=False, help_text="Take the name from the version that has it.")


class DiffBody(serializers.Serializer[Any]):
    keys = serializers.ListField(child=serializers.CharField(max_length=500), min_length=1, max_length=20)


class FilesView(GenericAPIView[DatasetFile]):
    """The files of a version in the order of their paths."""

    serializer_class = FileSerializer
    queryset = DatasetFile.objects.none()  # for the schema alone
    page_order = ("path", "id")

    @extend_schema(operation_id="dataset_versions_files", responses=FileSerializer(many=True))
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        dataset_version = queries.get_version(request.actor, get_project(request.actor, project), name, version)
        page = self.paginate_queryset(dataset_version.files.select_related("artifact"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class TagView(APIView):
    """A tag of a version: PUT sets it, or moves it where the body says so; DELETE takes it away."""

    @extend_schema(
        operation_id="dataset_versions_tag",
        request=TagBody,
        responses={201: TagSerializer, 200: OpenApiResponse(TagSerializer, "It named this version already.")},
    )
    def put(self, request: Request, project: str, name: str, version: str, tag: str) -> Response:
        dataset_version = queries.get_version(request.actor, get_project(request.actor, project), name, version)
        policy.require(request.actor, "dataset.tag", dataset_version)
        body = validate_body(TagBody, request.data)
        version_tag, is_new = tag_version(actor=request.actor, version=dataset_version, name=tag, move=body["move"])
        return Response(
            TagSerializer(version_tag).data, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        )

    @extend_schema(operation_id="dataset_versions_untag", responses={204: None})
    def delete(self, request: Request, project: str, name: str, version: str, tag: str) -> Response:
        dataset_version = queries.get_version(request.actor, get_project(request.actor, project), name, version)
        remove_version_tag(actor=request.actor, version=dataset_version, name=tag)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DiffView(APIView):
    """The rows of this version against those of another, `before`: its number, digest or tag, or DATASET@VERSION."""

    @extend_schema(
        operation_id="dataset_versions_diff",
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, "Every field is null where nobody has compared them yet.")
        },
    )
    def get(self, request: Request, project: str, name: str, version: str, before: str) -> Response:
        in_project = get_project(request.actor, project)
        dataset_version = queries.get_version(request.actor, in_project, name, version)
        latest = find_latest_diff(
            request.actor, queries.get_version_by_reference(request.actor, in_project, name, before), dataset_version
        )
        if latest is None:
            return Response({"job": None, "state": None, "changes": None, "found": None})
        job = {"job": latest.job.pk, "state": latest.job.state, "changes": latest.changes or None}
        return Response({**job, "found": latest.found})

    @extend_schema(operation_id="dataset_versions_compare", request=DiffBody, responses={201: JobDetailSerializer})
    def post(self, request: Request, project: str, name: str, version: str, before: str) -> Response:
        in_project = get_project(request.actor, project)
        dataset_version = queries.get_version(request.actor, in_project, name, version)
        before_version = queries.get_version_by_reference(request.actor, in_project, name, before)
        policy.require(request.actor, "job.submit", in_project)
        keys = validate_body(DiffBody, request.data)["keys"]
        job = submit_diff(
            actor=request.actor, project=in_project, before=before_version, after=dataset_version, keys=keys
        )
        data = serialize_job(request, in_project, job)
        return Response(data, status=status.HTTP_201_CREATED, headers={"Location": data["links"]["self"]})
