"""The inventory of personal data for programs."""

from __future__ import annotations

from typing import Any

from django.utils import translation
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.lists.listing import read_filter_values
from apps.data.datasets.queries import get_dataset
from apps.data.personal_data import queries, services
from apps.data.personal_data.categories import Category
from apps.data.personal_data.lists import CURRENT, OVERDUE, filter_marks
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.serializers import (
    ColumnSuggestionSerializer,
    PersonalColumnBody,
    PersonalColumnSerializer,
    PlaneTableSerializer,
    UnmarkBody,
)
from apps.data.personal_data.suggestions import suggest_columns
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project

FILTERS = [
    OpenApiParameter("q", str, description="A part of the name of the column or dataset."),
    OpenApiParameter("category", str, enum=Category.values),
    OpenApiParameter("retention", str, enum=[CURRENT, OVERDUE], description="Whether the last day of use is over."),
]


class ProjectPersonalData(GenericAPIView[PersonalColumn]):
    serializer_class = PersonalColumnSerializer
    queryset = PersonalColumn.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="personal_data_list", parameters=FILTERS, responses=PersonalColumnSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The columns of the project's datasets that are marked as personal data, newest first."""
        return list_marks(self, queries.list_project_columns(request.actor, get_project(request.actor, project)))

    @extend_schema(
        operation_id="personal_data_mark", request=PersonalColumnBody, responses={201: PersonalColumnSerializer}
    )
    def post(self, request: Request, project: str) -> Response:
        """Mark a column of a dataset, or change its mark."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "personal_data.mark", where)
        body = parse_body(PersonalColumnBody, request)
        dataset = get_dataset(request.actor, where, body.pop("dataset"))
        mark = services.mark_column(actor=request.actor, dataset=dataset, **body)
        return Response(PersonalColumnSerializer(mark).data, status=status.HTTP_201_CREATED)


class PersonalColumnView(APIView):
    @extend_schema(operation_id="personal_data_unmark", request=UnmarkBody, responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Take a mark away; the audit trail keeps it."""
        mark = queries.get_personal_column(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "personal_data.change", mark)
        services.unmark_column(actor=request.actor, mark=mark, **parse_body(UnmarkBody, request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SuggestionsView(APIView):
    @extend_schema(operation_id="personal_data_suggestions", responses=ColumnSuggestionSerializer(many=True))
    def get(self, request: Request, project: str, name: str) -> Response:
        """Columns of the newest version whose first rows look like personal data and that are not marked."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "personal_data.mark", where)
        suggestions = suggest_columns(request.actor, get_dataset(request.actor, where, name))
        return Response(ColumnSuggestionSerializer(suggestions, many=True).data)


class PlanePersonalData(GenericAPIView[PersonalColumn]):
    serializer_class = PersonalColumnSerializer
    queryset = PersonalColumn.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="plane_personal_data_list", parameters=FILTERS, responses=PersonalColumnSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """The marked columns of every project, newest first."""
        return list_marks(self, queries.list_plane_columns(request.actor))


class PlaneTablesView(APIView):
    @extend_schema(operation_id="plane_personal_data_tables", responses=PlaneTableSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The plane's own tables that hold personal data, why and for how long."""
        tables = queries.list_tables(request.actor)
        with translation.override("en"):
            return Response(PlaneTableSerializer(tables, many=True).data)


def list_marks(view: GenericAPIView[PersonalColumn], rows: Any) -> Response:
    values = read_filter_values(view.request.query_params, ("q", "category", "retention"))
    page = view.paginate_queryset(filter_marks(rows, values))
    return view.get_paginated_response(view.get_serializer(page, many=True).data)
