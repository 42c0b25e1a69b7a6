"""REST views of provenance: what produced a version, or what a job produced."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.data.datasets.api import get_requested_version
from apps.data.datasets.provenance.producers import JobInputRef, Provenance, get_job_provenance, get_version_provenance
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.queries import get_job


class TakenSerializer(serializers.Serializer[JobInputRef]):
    slot = serializers.CharField()
    digest = serializers.CharField(help_text="SHA-256 of the bytes that went in.")
    type = serializers.CharField(help_text="What they were known as: dataset_version or artifact.")
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


class MadeSerializer(serializers.Serializer[JobOutput]):
    slot = serializers.CharField()
    digest = serializers.CharField(source="artifact_id")
    name = serializers.CharField()
    media_type = serializers.CharField()
    size = serializers.IntegerField(source="artifact.size", help_text="Bytes.")


class MakerSerializer(serializers.Serializer[Job]):
    id = serializers.IntegerField(source="pk")
    kind = serializers.CharField()
    state = serializers.CharField()
    attempt = serializers.IntegerField()
    requester = serializers.CharField()
    spec_digest = serializers.CharField()
    created_at = serializers.DateTimeField()
    claimed_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class MadeBySerializer(serializers.Serializer[Provenance]):
    script = serializers.CharField(help_text="upload, or the engine's module and release.")
    code_digest = serializers.CharField(help_text="SHA-256 of the engine's source; empty where no job made it.")
    params = serializers.DictField()
    quality = serializers.CharField(help_text="Digest of the quality report; empty where there is none.")
    inputs = TakenSerializer(many=True)
    outputs = MadeSerializer(many=True)
    job = MakerSerializer(allow_null=True)
    node = serializers.CharField(help_text="Name of the machine it ran on.")
    environment = serializers.DictField(help_text="Python, platform, packages, threads, processor, GPUs.")
    by = serializers.CharField(help_text="Who asked for it.")


class VersionMadeByView(APIView):
    @extend_schema(operation_id="dataset_versions_made_by", responses=MadeBySerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """What made this version, whole."""
        return Response(
            MadeBySerializer(
                get_version_provenance(request.actor, get_requested_version(request, project, name, version))
            ).data
        )


class JobMadeByView(APIView):
    @extend_schema(operation_id="jobs_made_by", responses=MadeBySerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """With what a job made its outputs."""
        job = get_job(request.actor, get_project(request.actor, project), pk)
        return Response(MadeBySerializer(get_job_provenance(request.actor, job)).data)
