"""Schedules for programs: list, create, change, pause, resume, delete, and what became of their times."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.platform.accounts.api import parse_body
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.calendars import permissions, queries, services
from apps.platform.calendars import serializers as bodies
from apps.platform.calendars.models import Occurrence, Schedule
from apps.platform.calendars.recurrence import list_next_times, normalize_cron, validate_timezone
from apps.platform.nodes.samples import get_database_now

STATE = OpenApiParameter("state", str, description="Only these.")
OUTCOME = OpenApiParameter("outcome", str, description="Only these.")
PREVIEW = [
    OpenApiParameter("cron", str, required=True, description=bodies.CRON_HELP),
    OpenApiParameter("timezone", str, description=bodies.ZONE_HELP),
]


def get_owner(request: Request, project: str = "") -> Project | None:
    """The project of the address; None where the address is of the plane's own schedules."""
    return get_project(request.actor, project) if project else None


def get_addressed_schedule(request: Request, project: str, pk: int) -> Schedule:
    return queries.get_schedule(request.actor, get_owner(request, project), pk)


def serialize_schedule(schedule: Schedule) -> dict[str, Any]:
    return dict(bodies.JobScheduleDetailSerializer(schedule).data)


class ScheduleList(GenericAPIView[Schedule]):
    serializer_class = bodies.JobScheduleSerializer
    queryset = Schedule.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="schedules_list", parameters=[STATE], responses=bodies.JobScheduleSerializer(many=True))
    def get(self, request: Request, project: str = "") -> Response:
        """The schedules of the project or plane, newest first."""
        where, state = get_owner(request, project), request.query_params.get("state", "")
        rows = self.paginate_queryset(queries.list_schedules(request.actor, where, state=state)) or []
        return self.get_paginated_response(bodies.JobScheduleSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="schedules_create",
        request=bodies.NewScheduleBody,
        responses={201: bodies.JobScheduleDetailSerializer},
    )
    def post(self, request: Request, project: str = "") -> Response:
        """Submit a request at every time of a cron expression, with the rights of who creates it."""
        where = get_owner(request, project)
        permissions.require(request.actor, "schedule.create", where)
        body = parse_body(bodies.NewScheduleBody, request)
        schedule = services.create_schedule(actor=request.actor, project=where, **body)
        return Response(serialize_schedule(schedule), status=status.HTTP_201_CREATED)


class SchedulePreview(APIView):
    @extend_schema(operation_id="schedules_preview", parameters=PREVIEW, responses=bodies.SchedulePreviewSerializer)
    def get(self, request: Request, project: str = "") -> Response:
        """The next times of a cron expression."""
        permissions.require(request.actor, "schedule.view", get_owner(request, project))
        cron = normalize_cron(request.query_params.get("cron", ""))
        timezone = validate_timezone(request.query_params.get("timezone", "UTC"))
        times = list_next_times(cron, timezone, get_database_now(), queries.NEXT_TIMES)
        return Response(bodies.SchedulePreviewSerializer({"cron": cron, "next_times": times}).data)


class ScheduleDetail(APIView):
    @extend_schema(operation_id="schedules_retrieve", responses=bodies.JobScheduleDetailSerializer)
    def get(self, request: Request, pk: int, project: str = "") -> Response:
        """One schedule with its request and its next times."""
        return Response(serialize_schedule(get_addressed_schedule(request, project, pk)))

    @extend_schema(
        operation_id="schedules_update",
        request=bodies.ScheduleChangesBody,
        responses=bodies.JobScheduleDetailSerializer,
    )
    def patch(self, request: Request, pk: int, project: str = "") -> Response:
        """Change it; what is left out stays. Who changes the request is who submits from then on."""
        schedule = get_addressed_schedule(request, project, pk)
        permissions.require(request.actor, "schedule.update", schedule)
        changes = parse_body(bodies.ScheduleChangesBody, request)
        return Response(serialize_schedule(services.update_schedule(actor=request.actor, schedule=schedule, **changes)))

    @extend_schema(operation_id="schedules_delete", request=None, responses={204: None})
    def delete(self, request: Request, pk: int, project: str = "") -> Response:
        """Delete it with the list of its times; what it has submitted stays."""
        services.delete_schedule(actor=request.actor, schedule=get_addressed_schedule(request, project, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SchedulePause(APIView):
    @extend_schema(
        operation_id="schedules_pause",
        request=bodies.ScheduleReasonBody,
        responses=bodies.JobScheduleDetailSerializer,
    )
    def post(self, request: Request, pk: int, project: str = "") -> Response:
        """Submit nothing until it is resumed."""
        schedule = get_addressed_schedule(request, project, pk)
        permissions.require(request.actor, "schedule.pause", schedule)
        reason = parse_body(bodies.ScheduleReasonBody, request)["reason"]
        schedule = services.pause_schedule(actor=request.actor, schedule=schedule, reason=reason)
        return Response(serialize_schedule(schedule))


class ScheduleResume(APIView):
    @extend_schema(operation_id="schedules_resume", request=None, responses=bodies.JobScheduleDetailSerializer)
    def post(self, request: Request, pk: int, project: str = "") -> Response:
        """Go on with the first time from now on."""
        schedule = services.resume_schedule(actor=request.actor, schedule=get_addressed_schedule(request, project, pk))
        return Response(serialize_schedule(schedule))


class OccurrenceList(GenericAPIView[Occurrence]):
    serializer_class = bodies.OccurrenceSerializer
    queryset = Occurrence.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="schedule_occurrences_list",
        parameters=[OUTCOME],
        responses=bodies.OccurrenceSerializer(many=True),
    )
    def get(self, request: Request, pk: int, project: str = "") -> Response:
        """What became of its times, newest first."""
        schedule = get_addressed_schedule(request, project, pk)
        rows = queries.list_occurrences(schedule, outcome=request.query_params.get("outcome", ""))
        return self.get_paginated_response(
            bodies.OccurrenceSerializer(self.paginate_queryset(rows) or [], many=True).data
        )
