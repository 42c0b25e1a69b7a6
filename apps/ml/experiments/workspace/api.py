"""REST API of the panels of the runs workspace."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.data.datasets.requests import validate_body
from apps.ml.experiments.models import RunPanel
from apps.ml.experiments.services.panels import (
    MAX_METRICS,
    MAX_PANELS,
    PANEL_AXES,
    SCALES,
    add_panel,
    remove_panel,
    update_panel,
)
from apps.ml.experiments.workspace.panels import get_panel, list_panels
from apps.platform.accounts.projects import get_project


class RunPanelBody(serializers.Serializer[Any]):
    metrics = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False), help_text=f"Keys, 1 to {MAX_METRICS}."
    )
    title = serializers.CharField(allow_blank=True, default="", help_text="Empty: the names of its metrics.")
    axis = serializers.CharField(
        allow_blank=True, default="", help_text=f"One of {', '.join(PANEL_AXES[1:])}, or empty."
    )
    scale = serializers.CharField(allow_blank=True, default="", help_text=f"One of {', '.join(SCALES[1:])}, or empty.")
    smooth = serializers.FloatField(default=0.0, help_text="Weight of the moving average, 0 to 0.999.")


class RunPanelChange(serializers.Serializer[Any]):
    metrics = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False)
    title = serializers.CharField(allow_blank=True, required=False)
    axis = serializers.CharField(allow_blank=True, required=False)
    scale = serializers.CharField(allow_blank=True, required=False)
    smooth = serializers.FloatField(required=False)


class RunPanelSerializer(serializers.ModelSerializer[RunPanel]):
    metrics = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = RunPanel
        fields = ("id", "title", "metrics", "axis", "scale", "smooth", "created_by", "created_at")


class PanelsView(APIView):
    """The charts of the list of runs that the project keeps for everybody in it."""

    @extend_schema(operation_id="run_panels_list", responses=RunPanelSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        panels = list_panels(request.actor, get_project(request.actor, project))
        return Response(RunPanelSerializer(panels, many=True).data)

    @extend_schema(
        operation_id="run_panels_add",
        request=RunPanelBody,
        responses={201: RunPanelSerializer},
        description=f"Add a panel; a project has {MAX_PANELS} at most.",
    )
    def post(self, request: Request, project: str) -> Response:
        where = get_project(request.actor, project)
        policy.require(request.actor, "run.set_panels", where)
        panel = add_panel(actor=request.actor, project=where, **validate_body(RunPanelBody, request.data))
        return Response(RunPanelSerializer(panel).data, status=status.HTTP_201_CREATED)


class PanelView(APIView):
    @extend_schema(operation_id="run_panel_read", responses=RunPanelSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        panel = get_panel(request.actor, get_project(request.actor, project), pk)
        return Response(RunPanelSerializer(panel).data)

    @extend_schema(operation_id="run_panel_change", request=RunPanelChange, responses=RunPanelSerializer)
    def patch(self, request: Request, project: str, pk: int) -> Response:
        panel = get_panel(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "run.set_panels", panel)
        changes = validate_body(RunPanelChange, request.data)
        return Response(RunPanelSerializer(update_panel(actor=request.actor, panel=panel, **changes)).data)

    @extend_schema(operation_id="run_panel_remove", request=None, responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        remove_panel(actor=request.actor, panel=get_panel(request.actor, get_project(request.actor, project), pk))
        return Response(status=status.HTTP_204_NO_CONTENT)
