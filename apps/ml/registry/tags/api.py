"""Tags of models and versions over REST: list, set, remove."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import NotFound
from apps.data.datasets.requests import validate_body
from apps.ml.experiments.keys import KEY_LIMIT
from apps.ml.registry import queries, services
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.services.validation import TAG_LENGTH
from apps.platform.accounts.projects import get_project
from deepseek.messages import N_

KEY = OpenApiParameter("key", str, required=True, description="Key of the tag.")


class ModelTagBody(serializers.Serializer[Any]):
    key = serializers.CharField(trim_whitespace=False, help_text=f"1 to {KEY_LIMIT} characters.")
    value = serializers.CharField(
        allow_blank=True, trim_whitespace=False, default="", help_text=f"At most {TAG_LENGTH:,} characters."
    )


class ModelTagSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    value = serializers.CharField()


class ModelTagsView(APIView):
    """The tags of a model, which MLflow's clients know as those of the registered model."""

    @extend_schema(operation_id="model_tags_list", responses=ModelTagSerializer(many=True))
    def get(self, request: Request, project: str, name: str) -> Response:
        return render_tags(get_request_model(request, project, name))

    @extend_schema(operation_id="model_tags_set", request=ModelTagBody, responses=ModelTagSerializer(many=True))
    def post(self, request: Request, project: str, name: str) -> Response:
        """Set one tag; answers with all of them."""
        model = get_request_model(request, project, name)
        policy.require(request.actor, "model.annotate", model)
        services.tag_model(actor=request.actor, model=model, **validate_body(ModelTagBody, request.data))
        return render_tags(model)

    @extend_schema(operation_id="model_tags_delete", parameters=[KEY], responses={204: None})
    def delete(self, request: Request, project: str, name: str) -> Response:
        model, key = get_request_model(request, project, name), request.query_params.get("key", "")
        if not services.untag_model(actor=request.actor, model=model, key=key):
            raise build_no_tag_error(model, key)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ModelVersionTagsView(APIView):
    """The tags of a version of a model, the same that MLflow's clients set."""

    @extend_schema(operation_id="model_version_tags_list", responses=ModelTagSerializer(many=True))
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        return render_tags(get_request_version(request, project, name, version))

    @extend_schema(operation_id="model_version_tags_set", request=ModelTagBody, responses=ModelTagSerializer(many=True))
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Set one tag; answers with all of them."""
        version_row = get_request_version(request, project, name, version)
        policy.require(request.actor, "model.annotate", version_row.model)
        services.tag_version(actor=request.actor, version=version_row, **validate_body(ModelTagBody, request.data))
        return render_tags(version_row)

    @extend_schema(operation_id="model_version_tags_delete", parameters=[KEY], responses={204: None})
    def delete(self, request: Request, project: str, name: str, version: str) -> Response:
        version_row = get_request_version(request, project, name, version)
        key = request.query_params.get("key", "")
        if not services.untag_version(actor=request.actor, version=version_row, key=key):
            raise build_no_tag_error(version_row, key)
        return Response(status=status.HTTP_204_NO_CONTENT)


def get_request_model(request: Request, project: str, name: str) -> Model:
    return queries.get_model(request.actor, get_project(request.actor, project), name)


def get_request_version(request: Request, project: str, name: str, version: str) -> ModelVersion:
    return queries.get_version(request.actor, get_project(request.actor, project), name, version)


def render_tags(owner: Model | ModelVersion) -> Response:
    return Response(ModelTagSerializer(queries.list_tags(owner), many=True).data)


def build_no_tag_error(owner: Model | ModelVersion, key: str) -> NotFound:
    return NotFound(
        "{owner} has no tag {key!r}.", owner=str(owner), key=key[:60], field="key", hint=N_("List its tags.")
    )
