"""What would be affected by an object, over REST."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.lists.pages import paginate_in_memory, parse_limit
from apps.ml.registry.impact.lists import TYPES, filter_affected
from apps.ml.registry.impact.queries import Affected, find_affected
from apps.platform.accounts.projects import get_project
from apps.platform.lineage.ends import END_TYPES


class AffectedSerializer(serializers.Serializer[Affected]):
    type = serializers.ChoiceField(choices=TYPES)
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    digest = serializers.CharField()
    hops = serializers.IntegerField(help_text="Edges from the object asked for, by the shortest way.")
    since = serializers.DateTimeField(help_text="When that way's last edge was recorded; of an alias, when it moved.")
    in_production = serializers.BooleanField()


class AffectedPageSerializer(serializers.Serializer[Any]):
    items = AffectedSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Send it as `cursor` for the next page.")
    truncated = serializers.BooleanField(help_text="More edges lead on than one answer walks.")


class AffectedQuery(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=END_TYPES)
    id = serializers.CharField(max_length=80)
    kind = serializers.ChoiceField(choices=TYPES, required=False, help_text="Only objects of this type.")
    production = serializers.CharField(required=False, help_text="1: only what is in production.")
    cursor = serializers.CharField(required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=200, default=50)


class AffectedView(APIView):
    @extend_schema(operation_id="lineage_affected", parameters=[AffectedQuery], responses=AffectedPageSerializer)
    def get(self, request: Request, project: str) -> Response:
        """Every object downstream of one, the nearest first: what a recall of it would concern."""
        where, query = get_project(request.actor, project), request.query_params
        impact = find_affected(request.actor, where, query.get("type", ""), query.get("id", ""))
        objects = filter_affected(impact.objects, query.get("kind", ""), query.get("production", ""))
        page = paginate_in_memory(
            objects,
            key=lambda item: item.key,
            order="hops",
            cursor=query.get("cursor") or None,
            limit=parse_limit(query.get("limit")),
        )
        payload = {"items": page.items, "next": page.next, "truncated": impact.truncated}
        return Response(AffectedPageSerializer(payload).data)
