"""The registry over REST: models, versions with their variants, aliases, promotion, rollback, comparison."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.lists.listing import build_day_parameters, filter_between_days
from apps.data.datasets.requests import validate_body
from apps.ml.registry import queries, services
from apps.ml.registry.blocks import find_block
from apps.ml.registry.documents import read_document
from apps.ml.registry.evaluations.comparison import build_variant_figures, pair_variants
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.promotion.facts import build_side, list_variants_with_artifacts
from apps.ml.registry.provenance import list_training_data
from apps.ml.registry.serializers import (
    AliasBody,
    AliasMoveSerializer,
    AliasSerializer,
    ModelBody,
    ModelChangesBody,
    ModelDetailSerializer,
    ModelSerializer,
    ModelVersionDetailSerializer,
    ModelVersionSerializer,
    PromotionBody,
    RollbackBody,
    UnblockBody,
    VersionComparisonSerializer,
)
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.projects import get_project
from apps.platform.approvals.api import serialize_approval
from apps.platform.approvals.queries import get_approval
from apps.platform.approvals.serializers import ApprovalDetailSerializer

QUERY = OpenApiParameter("q", str, description="A part of the name or the description.")
WITH = OpenApiParameter("with", str, description="production (the default), or the number or digest of a version.")
DOCUMENT_FIELDS = ("features", "classes", "signature", "architecture", "inputs", "spec")


class ModelsView(GenericAPIView[Model]):
    """The models of a project, newest first; POST makes one without versions."""

    serializer_class = ModelSerializer
    queryset = Model.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("-id",)

    @extend_schema(
        operation_id="models_list",
        parameters=[QUERY, *build_day_parameters("registered")],
        responses=ModelSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The models of the project, newest first; narrowed by when a version was registered, by the last of those."""
        project_row, query = get_project(request.actor, project), request.query_params
        models = queries.list_models(request.actor, project_row, query=query.get("q", ""))
        if query.get("registered_after") or query.get("registered_before"):
            self.page_order = ("-touched_at", "-id")  # whose index holds these days in one piece
        page = self.paginate_queryset(filter_between_days(models, "touched_at", query, "registered"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="models_create", request=ModelBody, responses={201: ModelSerializer})
    def post(self, request: Request, project: str) -> Response:
        project_row = get_project(request.actor, project)
        policy.require(request.actor, "model.create", project_row)
        model: Any = services.create_model(
            actor=request.actor, project=project_row, **validate_body(ModelBody, request.data)
        )
        model.production = model.production_metrics = model.newest_metrics = model.changed_at = (
            None  # as the list has it
        )
        headers = {"Location": f"{request.path}/{model.name}"}
        return Response(ModelSerializer(model).data, status=status.HTTP_201_CREATED, headers=headers)


class ModelView(APIView):
    @extend_schema(operation_id="models_read", responses=ModelDetailSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """A model, where each of its aliases points, and how they came there."""
        model: Any = queries.get_model(request.actor, get_project(request.actor, project), name)
        model.listed = queries.list_aliases(request.actor, model)
        model.history = queries.list_moves(request.actor, model)
        return Response(ModelDetailSerializer(model).data)

    @extend_schema(operation_id="models_describe", request=ModelChangesBody, responses=ModelDetailSerializer)
    def patch(self, request: Request, project: str, name: str) -> Response:
        """Replace what is said about a model: its description, which pages show as the card."""
        model = queries.get_model(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "model.annotate", model)
        services.describe_model(actor=request.actor, model=model, **validate_body(ModelChangesBody, request.data))
        return self.get(request, project, name)


class ModelVersionsView(GenericAPIView[ModelVersion]):
    """The versions of a model, newest first. They come from register jobs, and from MLflow's clients."""

    serializer_class = ModelVersionSerializer
    queryset = ModelVersion.objects.none()  # for the schema alone
    page_order = ("-number",)

    @extend_schema(
        operation_id="model_versions_list",
        parameters=build_day_parameters("made"),
        responses=ModelVersionSerializer(many=True),
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        model = queries.get_model(request.actor, get_project(request.actor, project), name)
        versions = queries.list_versions(request.actor, model)
        page = self.paginate_queryset(filter_between_days(versions, "created_at", request.query_params, "made"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class ModelVersionView(APIView):
    @extend_schema(operation_id="model_versions_read", responses=ModelVersionDetailSerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """A version whole: what goes in and comes out, its data, and each variant with its figures and its files.

        A variant's two files, under the names `file` and model.json in one folder, are what `deepseek serve` takes.
        """
        return Response(render_version_detail(request, get_request_version(request, project, name, version)))


class PromoteView(APIView):
    @extend_schema(
        operation_id="model_versions_promote", request=PromotionBody, responses={201: ApprovalDetailSerializer}
    )
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Ask the approvers to let `production` point to this version; the answer is the approval to wait for."""
        version_row = get_request_version(request, project, name, version)
        policy.require(request.actor, "model.request_promotion", version_row.model)
        body = validate_body(PromotionBody, request.data)
        approval = services.request_promotion(actor=request.actor, version=version_row, **body)
        payload = serialize_approval(
            request, version_row.model.project, get_approval(request.actor, version_row.model.project, approval.pk)
        )
        return Response(payload, status=status.HTTP_201_CREATED, headers={"Location": payload["links"]["self"]})


class UnblockView(APIView):
    @extend_schema(
        operation_id="model_versions_unblock", request=UnblockBody, responses={200: ModelVersionDetailSerializer}
    )
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Let a blocked version be used again. What was revoked and rolled back stays so."""
        version_row = get_request_version(request, project, name, version)
        policy.require(request.actor, "model.unblock", version_row.model)
        body = validate_body(UnblockBody, request.data)
        services.lift_block(actor=request.actor, version=version_row, **body)
        return Response(render_version_detail(request, version_row))


class CompareView(APIView):
    @extend_schema(operation_id="model_versions_compare", parameters=[WITH], responses=VersionComparisonSerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        """Metric by metric against another version of the model.

        Only intervals that do not meet, measured on the same held-out rows, make one better or worse.
        """
        version_row = get_request_version(request, project, name, version)
        other_version = queries.get_other(request.actor, version_row, request.query_params.get("with") or PRODUCTION)
        sides = [
            build_variant_figures(build_side(row, list_variants_with_artifacts(row), {}))
            for row in (version_row, other_version)
        ]
        payload = {
            "model": name,
            "version": version_row.number,
            "other": other_version.number,
            "variants": pair_variants(*sides),
        }
        return Response(VersionComparisonSerializer(payload).data)


class AliasView(APIView):
    @extend_schema(operation_id="model_aliases_read", responses=ModelVersionDetailSerializer)
    def get(self, request: Request, project: str, name: str, alias: str) -> Response:
        """The version that the alias points to, whole, as at its own address."""
        alias_row = queries.get_alias(request.actor, get_project(request.actor, project), name, alias)
        return Response(render_version_detail(request, alias_row.version))

    @extend_schema(
        operation_id="model_aliases_set",
        request=AliasBody,
        responses={200: AliasSerializer, 403: OpenApiResponse(description="`alias_protected`: production.")},
    )
    def put(self, request: Request, project: str, name: str, alias: str) -> Response:
        """Let an alias point to a version. `production` is refused: it moves only by an approval."""
        project_row = get_project(request.actor, project)
        policy.require(request.actor, "model.set_alias", project_row)
        body = validate_body(AliasBody, request.data)
        version = queries.get_version(request.actor, project_row, name, str(body["version"]))
        alias_row = services.set_alias(actor=request.actor, version=version, name=alias, reason=body["reason"])
        return Response(AliasSerializer(alias_row).data)


class RollbackView(APIView):
    @extend_schema(operation_id="models_roll_back", request=RollbackBody, responses=AliasMoveSerializer)
    def post(self, request: Request, project: str, name: str) -> Response:
        """Let `production` point to its previous holder again, whose bytes are read first; the answer is the move."""
        model = queries.get_model(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "model.roll_back", model)
        body = validate_body(RollbackBody, request.data)
        return Response(AliasMoveSerializer(services.roll_back(actor=request.actor, model=model, **body)).data)


def get_request_version(request: Request, project: str, name: str, version: str) -> ModelVersion:
    return queries.get_version(request.actor, get_project(request.actor, project), name, version)


def render_version_detail(request: Request, version: ModelVersion) -> dict[str, Any]:
    """Everything of a version; seven queries beside its own."""
    row: Any = version
    document, project = read_document(version.document), version.model.project
    for name in DOCUMENT_FIELDS:
        setattr(row, name, document[name])
    row.listed = queries.list_variants(request.actor, version)
    row.frozen = document["files"]
    row.block = find_block(version)
    row.trained_on = [
        {"dataset": data.dataset.name, "version": data.number, "digest": data.digest}
        for data in list_training_data(next(iter(row.listed), None), version.project_id)
    ]
    address_args = [project.slug, version.model.name, str(version.number)]
    row.links = {
        "self": reverse("api-model-version", args=address_args),
        "page": reverse("registry:version", args=address_args),
        "promote": reverse("api-model-promote", args=address_args),
        "compare": reverse("api-model-compare", args=address_args),
        "document": None if version.by_client else reverse("api-artifact", args=[project.slug, version.digest]),
    }
    return dict(ModelVersionDetailSerializer(row, context={"project": project}).data)
