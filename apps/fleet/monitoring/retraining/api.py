"""Retraining for programs: plan it for a monitor, list what was trained, cancel one."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.fleet.monitoring import queries as monitoring
from apps.fleet.monitoring import services
from apps.fleet.monitoring.models import Monitor, Retraining
from apps.fleet.monitoring.retraining import queries
from apps.fleet.monitoring.retraining import serializers as bodies
from apps.fleet.monitoring.serializers import MonitorReasonBody
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project


def get_project_monitor(request: Request, project: str, pk: int) -> Monitor:
    return monitoring.get_monitor(request.actor, get_project(request.actor, project), pk)


def serialize_retraining(retraining: Retraining) -> dict[str, Any]:
    return dict(bodies.RetrainingSerializer(retraining).data)


class RetrainingPlanDetail(APIView):
    @extend_schema(
        operation_id="monitor_retraining_update",
        request=bodies.RetrainingPlanBody,
        responses=bodies.RetrainingPlanSerializer,
    )
    def put(self, request: Request, project: str, pk: int) -> Response:
        """Have the model trained again after an alarm, with the rights that you have now."""
        monitor = get_project_monitor(request, project, pk)
        policy.require(request.actor, "monitor.set_retraining", monitor)
        values = parse_body(bodies.RetrainingPlanBody, request)
        plan = services.set_retraining_plan(actor=request.actor, monitor=monitor, **values)
        return Response(bodies.RetrainingPlanSerializer(plan).data)

    @extend_schema(operation_id="monitor_retraining_delete", request=None, responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Train nothing again by itself; one that has begun goes on."""
        services.remove_retraining_plan(actor=request.actor, monitor=get_project_monitor(request, project, pk))
        return Response(status=204)


class RetrainingList(GenericAPIView[Retraining]):
    serializer_class = bodies.RetrainingSerializer
    queryset = Retraining.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="monitor_retrainings_list", responses=bodies.RetrainingSerializer(many=True))
    def get(self, request: Request, project: str, pk: int) -> Response:
        """What its alarms had trained, or would have but for the budget, newest first."""
        monitor = get_project_monitor(request, project, pk)
        rows = queries.list_retrainings(request.actor, monitor.project, monitor=monitor)
        items = self.paginate_queryset(rows) or []
        return self.get_paginated_response(bodies.RetrainingSerializer(items, many=True).data)


class RetrainingRetry(APIView):
    @extend_schema(operation_id="retrainings_retry", request=None, responses=bodies.RetrainingSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Begin one that the budget refused, with the plan as it is now and your rights."""
        where = get_project(request.actor, project)
        retraining = queries.get_retraining(request.actor, where, pk)
        services.retry_retraining(actor=request.actor, retraining=retraining)
        return Response(serialize_retraining(queries.get_retraining(request.actor, where, pk)))


class RetrainingCancel(APIView):
    @extend_schema(operation_id="retrainings_cancel", request=MonitorReasonBody, responses=bodies.RetrainingSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Stop one before approvers are asked, with its job or pipeline."""
        where = get_project(request.actor, project)
        retraining = queries.get_retraining(request.actor, where, pk)
        policy.require(request.actor, "retraining.cancel", retraining)
        reason = parse_body(MonitorReasonBody, request)["reason"]
        services.cancel_retraining(actor=request.actor, retraining=retraining, reason=reason)
        return Response(serialize_retraining(queries.get_retraining(request.actor, where, pk)))
