"""REST API: register a model version from a run."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.data.datasets.requests import validate_body
from apps.ml.experiments.api import get_visible_run
from apps.ml.registry.services.from_run import MAX_NOTE_LENGTH, register_run


class RunRegistrationBody(serializers.Serializer[Any]):
    model = serializers.CharField(help_text="Name of the model; it is made if the project has none of this name.")
    note = serializers.CharField(
        allow_blank=True, default="", help_text=f"At most {MAX_NOTE_LENGTH} characters, for readers of the version."
    )
    logged_model = serializers.CharField(
        allow_blank=True,
        default="",
        help_text="Of a run that a client recorded: which logged model; empty: the newest.",
    )


class RunRegistrationSerializer(serializers.Serializer[Any]):
    job = serializers.IntegerField(allow_null=True, help_text="The job that makes the version, for a run of a job.")
    model = serializers.CharField()
    version = serializers.IntegerField(allow_null=True, help_text="The version, where it is there at once.")


class RunRegistrationView(APIView):
    @extend_schema(
        operation_id="run_register",
        request=RunRegistrationBody,
        responses={201: RunRegistrationSerializer, 202: RunRegistrationSerializer},
    )
    def post(self, request: Request, project: str, run: str) -> Response:
        """Make a model version of what the run made: 202 with the job that makes it, or 201 with the version."""
        visible_run = get_visible_run(request, project, run)
        policy.require(request.actor, "model.record_version", visible_run)
        body = validate_body(RunRegistrationBody, request.data)
        name = body.pop("model")
        registration = register_run(actor=request.actor, run=visible_run, name=name, **body)
        job, version = registration.job, registration.version
        answer = {
            "job": job.pk if job is not None else None,
            "model": name,
            "version": version.number if version is not None else None,
        }
        return Response(answer, status=status.HTTP_202_ACCEPTED if job is not None else status.HTTP_201_CREATED)
