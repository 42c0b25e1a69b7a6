"""Saved views for programs. A token with the scope read lists them; changes are made at a browser."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.preferences import queries, services
from apps.platform.preferences.models import SavedView
from apps.platform.preferences.serializers import NewSavedViewSerializer, SavedViewChangeSerializer, SavedViewSerializer

FILTERS = [
    OpenApiParameter("listing", str, description="Only views of this list: jobs, runs, ..."),
    OpenApiParameter("project", str, description="Only views in this project."),
]


@extend_schema(parameters=FILTERS)
class SavedViewList(ListAPIView[SavedView]):
    serializer_class = SavedViewSerializer
    queryset = SavedView.objects.none()  # for the schema alone

    def get_queryset(self) -> Any:
        params, views = self.request.query_params, queries.list_views(self.request.actor)
        if params.get("listing"):
            views = views.filter(listing=params["listing"][:40].replace("\x00", ""))
        if params.get("project"):
            views = views.filter(project=get_project(self.request.actor, params["project"][:50].replace("\x00", "")))
        return views

    @extend_schema(request=NewSavedViewSerializer, responses={201: SavedViewSerializer})
    def post(self, request: Request) -> Response:
        """Keep the query of a list under a name."""
        body = parse_body(NewSavedViewSerializer, request)
        slug = body.pop("project")
        project = get_project(request.actor, slug) if slug else None
        view = services.save_view(actor=request.actor, project=project, **body)
        return Response(SavedViewSerializer(view).data, status=status.HTTP_201_CREATED)


class SavedViewDetail(APIView):
    @extend_schema(responses=SavedViewSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(SavedViewSerializer(queries.get_view(request.actor, pk)).data)

    @extend_schema(request=SavedViewChangeSerializer, responses=SavedViewSerializer)
    def patch(self, request: Request, pk: int) -> Response:
        """Rename it, let it keep another query, make it the default or no more."""
        view = queries.get_view(request.actor, pk)
        body = parse_body(SavedViewChangeSerializer, request)
        return Response(SavedViewSerializer(services.update_view(actor=request.actor, view=view, **body)).data)

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        services.delete_view(actor=request.actor, view=queries.get_view(request.actor, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)
