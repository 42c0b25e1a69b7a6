"""One's own notices for programs: list, mark as read, choose channels."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid, NotFound
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.models import User
from apps.platform.accounts.services import set_preferences
from apps.platform.notices import queries, services
from apps.platform.notices import serializers as bodies
from apps.platform.notices.kinds import NOTICE_KINDS
from apps.platform.notices.models import Notice

FILTERS = [
    OpenApiParameter("unread", str, enum=["1"], description="Only those that are not read."),
    OpenApiParameter("kind", str, description="Only this kind: approval.requested, job.failed, ..."),
]


class NoticeList(GenericAPIView[Notice]):
    serializer_class = bodies.NoticeSerializer
    queryset = Notice.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="notices_list", parameters=FILTERS, responses=bodies.NoticeSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The caller's own notices, newest first; by token those of its project."""
        params = request.query_params
        policy.require(request.actor, "notice.view")
        if params.get("unread", "") not in ("", "0", "1"):
            raise Invalid("unread is {unread!r}.", unread=params["unread"][:40], field="unread", limit="1, or left out")
        kind = params.get("kind", "")[:60]
        rows = queries.list_notices(request.actor, unread=params.get("unread", "") == "1", kind=kind)
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(bodies.NoticeSerializer(page, many=True).data)


class NoticeDetail(APIView):
    @extend_schema(operation_id="notices_retrieve", responses=bodies.NoticeSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(bodies.NoticeSerializer(queries.get_notice(request.actor, pk)).data)

    @extend_schema(operation_id="notices_update", request=bodies.NoticeReadBody, responses=bodies.NoticeSerializer)
    def patch(self, request: Request, pk: int) -> Response:
        """Mark it as read."""
        notice = queries.get_notice(request.actor, pk)
        policy.require(request.actor, "notice.mark_read")
        parse_body(bodies.NoticeReadBody, request)
        services.mark_read(actor=request.actor, ids=[notice.pk])
        return Response(bodies.NoticeSerializer(queries.get_notice(request.actor, pk)).data)


class NoticesRead(APIView):
    @extend_schema(
        operation_id="notices_mark_read", request=bodies.NoticesReadBody, responses=bodies.NoticesMarkedSerializer
    )
    def post(self, request: Request) -> Response:
        """Mark these as read, or every one; ids of others change nothing."""
        policy.require(request.actor, "notice.mark_read")
        ids = parse_body(bodies.NoticesReadBody, request)["ids"]
        if ids is None:
            return Response({"marked": services.mark_all_read(actor=request.actor)})
        return Response({"marked": services.mark_read(actor=request.actor, ids=ids)})


class NoticePreferences(APIView):
    @extend_schema(operation_id="notice_preferences_retrieve", responses=bodies.NoticePreferencesSerializer)
    def get(self, request: Request) -> Response:
        """By which channels the caller is told, of every kind of notice."""
        policy.require(request.actor, "notice.view")
        return Response(serialize_preferences(request))

    @extend_schema(
        operation_id="notice_preferences_update",
        request=bodies.NoticePreferencesBody,
        responses=bodies.NoticePreferencesSerializer,
    )
    def patch(self, request: Request) -> Response:
        """Choose channels, and where mails go. No token may: a browser's session does."""
        policy.require(request.actor, "notice.set_preferences")
        body = parse_body(bodies.NoticePreferencesBody, request)
        services.set_notice_preferences(actor=request.actor, choices=body["choices"])
        if "address" in body:
            set_preferences(actor=request.actor, email=body["address"])
        return Response(serialize_preferences(request))


def serialize_preferences(request: Request) -> dict[str, Any]:
    if request.actor.user_id is None:
        raise NotFound("Only a person has notices.")
    person = User.objects.only("email").get(pk=request.actor.user_id)
    choices = queries.list_choices(person.pk)
    items = [
        {"kind": key, "description": str(NOTICE_KINDS[key].description), **channels}
        for key, channels in choices.items()
    ]
    return {"mail_enabled": settings.MAIL_ENABLED, "address": person.email, "items": items}
