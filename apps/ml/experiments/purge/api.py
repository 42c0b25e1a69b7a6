"""REST preview of a purge: the same list as `manage.py purge_runs --dry-run`, paginated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import policy
from apps.ml.experiments.models import Run
from apps.ml.experiments.purge.retention import decide_purges, list_candidates
from apps.platform.accounts.projects import get_project
from apps.platform.artifacts.gc_preview import read_age

DAYS = 30  # where the plane keeps deleted runs for ever, and nobody asks for another age
OLDER_THAN = OpenApiParameter(
    "older_than", str, description=f"Deleted for so long: 30d, 12h, 90m. RUN_RETENTION_DAYS if left out, or {DAYS}d."
)


class PurgeableSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(source="run.pk")
    name = serializers.CharField(source="run.name")
    experiment = serializers.CharField(source="run.experiment.name")
    deleted_at = serializers.DateTimeField(source="run.deleted_at")
    points = serializers.IntegerField()
    files = serializers.IntegerField()
    bytes = serializers.IntegerField()
    goes = serializers.SerializerMethodField()
    kept = serializers.CharField(help_text="Why it stays; empty where it would go.")

    def get_goes(self, decision: Any) -> bool:
        return not decision.kept


class PurgeableView(GenericAPIView[Run]):
    """Runs that are deleted long enough, those deleted first in front, and whether anything keeps them."""

    serializer_class = PurgeableSerializer
    queryset = Run.objects.none()  # for the schema alone
    page_order = ("deleted_at", "id")
    page_present = ("deleted_at",)

    @extend_schema(operation_id="runs_purgeable", parameters=[OLDER_THAN], responses=PurgeableSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        where = get_project(request.actor, project)
        policy.require(request.actor, "run.view_purgeable", where)
        age_text = request.query_params.get("older_than", "")
        older_than = read_age(age_text) if age_text else timedelta(days=settings.ENV.run_retention_days or DAYS)
        page = self.paginate_queryset(list_candidates(where, timezone.now() - older_than)) or []
        return self.get_paginated_response(self.get_serializer(decide_purges(where.pk, list(page)), many=True).data)
