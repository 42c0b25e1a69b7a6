"""Monitors and alarms for programs: list, create, change, pause, resume, delete; acknowledge and close."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.request_values import parse_int
from apps.fleet.monitoring import queries, services
from apps.fleet.monitoring import serializers as bodies
from apps.fleet.monitoring.models import Alarm, DriftWindow, Monitor, Window
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project

STATE = OpenApiParameter("state", str, description="Only these.")
MODEL = OpenApiParameter("model", str, description="Only those of this model.")
MONITOR = OpenApiParameter("monitor", int, description="Only those of this monitor.")
VERDICT = OpenApiParameter("verdict", str, description="Only these.")


def get_project_monitor(request: Request, project: str, pk: int) -> Monitor:
    return queries.get_monitor(request.actor, get_project(request.actor, project), pk)


def get_project_alarm(request: Request, project: str, pk: int) -> Alarm:
    return queries.get_alarm(request.actor, get_project(request.actor, project), pk)


def serialize_monitor(monitor: Monitor) -> dict[str, Any]:
    return dict(bodies.MonitorSerializer(monitor).data)


def serialize_alarm(alarm: Alarm) -> dict[str, Any]:
    return dict(bodies.AlarmDetailSerializer(alarm).data)


class MonitorList(GenericAPIView[Monitor]):
    serializer_class = bodies.MonitorSerializer
    queryset = Monitor.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="monitors_list", parameters=[STATE, MODEL], responses=bodies.MonitorSerializer(many=True)
    )
    def get(self, request: Request, project: str) -> Response:
        """The monitors of the project, newest first."""
        narrow = {name: request.query_params.get(name, "") for name in ("state", "model")}
        rows = queries.list_monitors(request.actor, get_project(request.actor, project), **narrow)
        return self.get_paginated_response(bodies.MonitorSerializer(self.paginate_queryset(rows) or [], many=True).data)

    @extend_schema(
        operation_id="monitors_create", request=bodies.NewMonitorBody, responses={201: bodies.MonitorSerializer}
    )
    def post(self, request: Request, project: str) -> Response:
        """Watch a metric of a model from now on."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "monitor.create", where)
        body = parse_body(bodies.NewMonitorBody, request)
        monitor = services.create_monitor(actor=request.actor, project=where, **body)
        return Response(serialize_monitor(monitor), status=status.HTTP_201_CREATED)


class MonitorDetail(APIView):
    @extend_schema(operation_id="monitors_retrieve", responses=bodies.MonitorSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One monitor."""
        return Response(serialize_monitor(get_project_monitor(request, project, pk)))

    @extend_schema(operation_id="monitors_update", request=bodies.MonitorRuleBody, responses=bodies.MonitorSerializer)
    def patch(self, request: Request, project: str, pk: int) -> Response:
        """Change its name or rule; what is left out stays. Who changes it owns it from then on."""
        monitor = get_project_monitor(request, project, pk)
        policy.require(request.actor, "monitor.update", monitor)
        changes = parse_body(bodies.MonitorRuleBody, request)
        return Response(serialize_monitor(services.update_monitor(actor=request.actor, monitor=monitor, **changes)))

    @extend_schema(operation_id="monitors_delete", request=None, responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Delete one that has opened no alarm."""
        services.delete_monitor(actor=request.actor, monitor=get_project_monitor(request, project, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


class MonitorPause(APIView):
    @extend_schema(operation_id="monitors_pause", request=bodies.MonitorReasonBody, responses=bodies.MonitorSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Evaluate nothing until it is resumed."""
        monitor = get_project_monitor(request, project, pk)
        policy.require(request.actor, "monitor.pause", monitor)
        reason = parse_body(bodies.MonitorReasonBody, request)["reason"]
        return Response(serialize_monitor(services.pause_monitor(actor=request.actor, monitor=monitor, reason=reason)))


class MonitorResume(APIView):
    @extend_schema(operation_id="monitors_resume", request=None, responses=bodies.MonitorSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Go on with the window that has ended last."""
        monitor = services.resume_monitor(actor=request.actor, monitor=get_project_monitor(request, project, pk))
        return Response(serialize_monitor(monitor))


class WindowList(GenericAPIView[Window]):
    serializer_class = bodies.WindowSerializer
    queryset = Window.objects.none()  # for the schema alone
    page_order = ("-until",)

    @extend_schema(
        operation_id="monitor_windows_list", parameters=[VERDICT], responses=bodies.WindowSerializer(many=True)
    )
    def get(self, request: Request, project: str, pk: int) -> Response:
        """What it found in each window, newest first."""
        monitor = get_project_monitor(request, project, pk)
        rows = queries.list_windows(monitor, verdict=request.query_params.get("verdict", ""))
        return self.get_paginated_response(bodies.WindowSerializer(self.paginate_queryset(rows) or [], many=True).data)


class DriftWindowList(GenericAPIView[DriftWindow]):
    serializer_class = bodies.DriftWindowSerializer
    queryset = DriftWindow.objects.none()  # for the schema alone
    page_order = ("-until",)

    @extend_schema(
        operation_id="monitor_drift_windows_list",
        parameters=[VERDICT],
        responses=bodies.DriftWindowSerializer(many=True),
    )
    def get(self, request: Request, project: str, pk: int) -> Response:
        """How the features of each window compare with the training data, newest first."""
        monitor = get_project_monitor(request, project, pk)
        rows = queries.list_drift_windows(monitor, verdict=request.query_params.get("verdict", ""))
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(bodies.DriftWindowSerializer(page, many=True).data)


class AlarmList(GenericAPIView[Alarm]):
    serializer_class = bodies.AlarmSerializer
    queryset = Alarm.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="alarms_list", parameters=[STATE, MONITOR], responses=bodies.AlarmSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The alarms of the project, newest first."""
        where, text = get_project(request.actor, project), request.query_params.get("monitor")
        policy.require(request.actor, "monitor.view", where)
        monitor = parse_int(text, low=1)
        if text and monitor is None:
            raise Invalid("{text!r} is no monitor.", text=text[:40], field="monitor", limit="the id of a monitor")
        state = request.query_params.get("state", "")
        rows = queries.list_alarms(request.actor, where, state=state, monitor=monitor)
        return self.get_paginated_response(bodies.AlarmSerializer(self.paginate_queryset(rows) or [], many=True).data)


class AlarmDetail(APIView):
    @extend_schema(operation_id="alarms_retrieve", responses=bodies.AlarmDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One alarm with its evidence."""
        return Response(serialize_alarm(get_project_alarm(request, project, pk)))


class AlarmAcknowledge(APIView):
    @extend_schema(
        operation_id="alarms_acknowledge", request=bodies.AcknowledgeBody, responses=bodies.AlarmDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Say that it was read, and why it is so."""
        alarm = get_project_alarm(request, project, pk)
        policy.require(request.actor, "alarm.acknowledge", alarm)
        reason = parse_body(bodies.AcknowledgeBody, request)["reason"]
        return Response(serialize_alarm(services.acknowledge_alarm(actor=request.actor, alarm=alarm, reason=reason)))


class AlarmClose(APIView):
    @extend_schema(
        operation_id="alarms_close", request=bodies.MonitorReasonBody, responses=bodies.AlarmDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End an acknowledged alarm before its monitor finds it over."""
        alarm = get_project_alarm(request, project, pk)
        policy.require(request.actor, "alarm.close", alarm)
        reason = parse_body(bodies.MonitorReasonBody, request)["reason"]
        return Response(serialize_alarm(services.close_alarm(actor=request.actor, alarm=alarm, reason=reason)))
