"""Endpoints for programs: create, look at, change, suspend, resume, delete, try; their tokens."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.ml.endpoints import queries, services
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.schemas import EndpointBody, EndpointChanges, PredictBody
from apps.ml.endpoints.serializers import (
    EndpointDetailSerializer,
    EndpointSerializer,
    EndpointTokenSerializer,
    TrySerializer,
)
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import ReasonBody, read_body

FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]


def get_project_endpoint(request: Request, project: str, name: str) -> tuple[Project, Endpoint]:
    where = get_project(request.actor, project)
    return where, queries.get_endpoint(request.actor, where, name)


def render_endpoint(request: Request, where: Project, name: str) -> dict[str, Any]:
    endpoint = queries.get_endpoint(request.actor, where, name)
    context = {"project": where.slug, "replicas": queries.list_replicas(endpoint)}
    return dict(EndpointDetailSerializer(endpoint, context=context).data)


class EndpointList(GenericAPIView[Endpoint]):
    serializer_class = EndpointSerializer
    queryset = Endpoint.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="endpoints_list", parameters=FILTERS, responses=EndpointSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The endpoints of the project, newest first."""
        where = get_project(request.actor, project)
        filters = {name: request.query_params.get(name, "") for name in queries.FILTERS}
        rows = self.paginate_queryset(queries.list_endpoints(request.actor, where, **filters)) or []
        return self.get_paginated_response(EndpointSerializer(rows, many=True, context={"project": where.slug}).data)

    @extend_schema(operation_id="endpoints_create", request=EndpointBody, responses={201: EndpointDetailSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Serve the version that an alias points to, and follow it: when the alias moves, the servers swap."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "endpoint.create", where)  # before the body: who may not, learns nothing of it
        body = read_body(EndpointBody, request.data)
        endpoint = services.create_endpoint(actor=request.actor, project=where, body=body)
        document = render_endpoint(request, where, endpoint.name)
        headers = {"Location": document["links"]["self"]}
        return Response(document, status=status.HTTP_201_CREATED, headers=headers)


class EndpointDetail(APIView):
    @extend_schema(operation_id="endpoints_retrieve", responses=EndpointDetailSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """One endpoint with each of its servers: its address, what it answers with, its rate and latency."""
        return Response(render_endpoint(request, get_project(request.actor, project), name))

    @extend_schema(operation_id="endpoints_update", request=EndpointChanges, responses=EndpointDetailSerializer)
    def patch(self, request: Request, project: str, name: str) -> Response:
        """Change its nodes, replicas, variant, sampling or shadow; what is left out stays."""
        where, endpoint = get_project_endpoint(request, project, name)
        policy.require(request.actor, "endpoint.update", endpoint)
        changes = read_body(EndpointChanges, request.data)
        services.update_endpoint(actor=request.actor, endpoint=endpoint, changes=changes)
        return Response(render_endpoint(request, where, name))

    @extend_schema(operation_id="endpoints_delete", responses={204: None})
    def delete(self, request: Request, project: str, name: str) -> Response:
        """End it for good: its servers are stopped, its ports and its name are free again."""
        _where, endpoint = get_project_endpoint(request, project, name)
        services.delete_endpoint(actor=request.actor, endpoint=endpoint)
        return Response(status=status.HTTP_204_NO_CONTENT)


class EndpointSuspend(APIView):
    @extend_schema(operation_id="endpoints_suspend", request=ReasonBody, responses=EndpointDetailSerializer)
    def post(self, request: Request, project: str, name: str) -> Response:
        """Stop its servers; requests that run are answered first."""
        where, endpoint = get_project_endpoint(request, project, name)
        policy.require(request.actor, "endpoint.suspend", endpoint)
        reason = read_body(ReasonBody, request.data).reason
        services.suspend_endpoint(actor=request.actor, endpoint=endpoint, reason=reason)
        return Response(render_endpoint(request, where, name))


class EndpointResume(APIView):
    @extend_schema(operation_id="endpoints_resume", request=None, responses=EndpointDetailSerializer)
    def post(self, request: Request, project: str, name: str) -> Response:
        """Start the servers of a suspended endpoint again."""
        where, endpoint = get_project_endpoint(request, project, name)
        services.resume_endpoint(actor=request.actor, endpoint=endpoint)
        return Response(render_endpoint(request, where, name))


class EndpointToken(APIView):
    @extend_schema(operation_id="endpoints_rotate_token", request=None, responses={201: EndpointTokenSerializer})
    def post(self, request: Request, project: str, name: str) -> Response:
        """Make the token by which clients ask its servers, in place of a former one. It is shown here alone."""
        where, endpoint = get_project_endpoint(request, project, name)
        secret = services.rotate_token(actor=request.actor, endpoint=endpoint)
        document = render_endpoint(request, where, name)
        body = {"token": secret, "token_prefix": document["token_prefix"], "created_at": document["token_created_at"]}
        return Response(EndpointTokenSerializer(body).data, status=status.HTTP_201_CREATED)


class EndpointPredict(APIView):
    @extend_schema(operation_id="endpoints_predict", request=PredictBody, responses=TrySerializer)
    def post(self, request: Request, project: str, name: str) -> Response:
        """Try it: one request to one of its servers, through the plane. Programs ask the servers themselves."""
        _where, endpoint = get_project_endpoint(request, project, name)
        policy.require(request.actor, "endpoint.predict", endpoint)
        features = read_body(PredictBody, request.data).features
        answer = services.predict(actor=request.actor, endpoint=endpoint, features=features)
        return Response(TrySerializer(answer).data)
