"""GET /api/v1/search: the same for programs, within the project of the token."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.actors import Actor
from apps.platform.accounts.projects import get_project
from apps.web.search.finders import search
from apps.web.search.hits import GROUPS


class HitSerializer(serializers.Serializer[dict[str, object]]):
    kind = serializers.ChoiceField(choices=[(kind, kind) for kind in GROUPS])
    title = serializers.CharField()
    text = serializers.CharField()
    url = serializers.CharField(help_text="The page of it, on this host.")
    project = serializers.CharField(allow_null=True)
    state = serializers.CharField(allow_null=True)
    exact = serializers.BooleanField(help_text="Its own number, id or digest was asked for.")


class GroupSerializer(serializers.Serializer[dict[str, object]]):
    kind = serializers.ChoiceField(choices=[(kind, kind) for kind in GROUPS])
    hits = HitSerializer(many=True)
    more = serializers.BooleanField(help_text="There are others: ask for this kind alone.")


class SearchSerializer(serializers.Serializer[dict[str, object]]):
    q = serializers.CharField()
    groups = GroupSerializer(many=True)
    left_out = serializers.ListField(
        child=serializers.CharField(),
        help_text="Projects where only numbers, digests and whole names were looked up: search them one by one.",
    )


PARAMETERS = [
    OpenApiParameter(
        "q",
        OpenApiTypes.STR,
        description="A name or a part of one, #123, job 123, wti v3, wti@champion, lr=0.1, a digest.",
    ),
    OpenApiParameter("kind", OpenApiTypes.STR, description="This kind alone, up to fifty.", enum=list(GROUPS)),
    OpenApiParameter("project", OpenApiTypes.STR, description="Within this project; else in all that you may see."),
]


class SearchView(APIView):
    @extend_schema(parameters=PARAMETERS, responses=SearchSerializer)
    def get(self, request: Request) -> Response:
        """What a text names: five of each kind, the exact one marked."""
        actor: Actor = request.actor  # type: ignore[attr-defined]
        params = request.query_params
        project = get_project(actor, params["project"]) if params.get("project") else None
        results = search(actor, params.get("q", ""), project=project, kind=params.get("kind", ""))
        groups = [
            {"kind": group.kind, "hits": [hit.as_dict() for hit in group.hits], "more": group.more}
            for group in results.groups
        ]
        return Response({"q": results.text, "groups": groups, "left_out": results.left_out})
