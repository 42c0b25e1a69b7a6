"""The webhooks of a project for programs. Whoever configures them does it with a browser's session: no token may."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.notices import queries, services
from apps.platform.notices import serializers as bodies
from apps.platform.notices.models import Webhook

NOT_STORED = {"Cache-Control": "no-store"}


def serialize_webhook(request: Request, webhook: Webhook, secret: str = "") -> dict[str, Any]:
    context = {"shows_url": queries.shows_url(request.actor, webhook), "secret": secret}
    kind = bodies.NewWebhookSecretSerializer if secret else bodies.WebhookSerializer
    return dict(kind(webhook, context=context).data)


def get_project_webhook(request: Request, project: str, pk: int) -> Webhook:
    return queries.get_webhook(request.actor, get_project(request.actor, project), pk)


def get_configurable_webhook(request: Request, project: str, pk: int) -> Webhook:
    webhook = get_project_webhook(request, project, pk)
    policy.require(request.actor, "webhook.configure", webhook)  # before the body is looked at
    return webhook


class WebhookList(GenericAPIView[Webhook]):
    serializer_class = bodies.WebhookSerializer
    queryset = Webhook.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="webhooks_list", responses=bodies.WebhookSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The webhooks of the project, newest first."""
        where = get_project(request.actor, project)
        rows = self.paginate_queryset(queries.list_webhooks(request.actor, where)) or []
        context = {"shows_url": queries.shows_url(request.actor, where)}
        return self.get_paginated_response(bodies.WebhookSerializer(rows, many=True, context=context).data)

    @extend_schema(
        operation_id="webhooks_create",
        request=bodies.NewWebhookBody,
        responses={201: bodies.NewWebhookSecretSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Have the project's notices sent to an address. The secret is in this answer and nowhere else."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "webhook.configure", where)
        body = parse_body(bodies.NewWebhookBody, request)
        webhook, secret = services.create_webhook(actor=request.actor, project=where, **body)
        document = serialize_webhook(request, webhook, secret)
        return Response(document, status=status.HTTP_201_CREATED, headers=NOT_STORED)


class WebhookDetail(APIView):
    @extend_schema(operation_id="webhooks_retrieve", responses=bodies.WebhookSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        return Response(serialize_webhook(request, get_project_webhook(request, project, pk)))

    @extend_schema(
        operation_id="webhooks_update", request=bodies.WebhookChangesBody, responses=bodies.WebhookSerializer
    )
    def patch(self, request: Request, project: str, pk: int) -> Response:
        """Change its name, address or kinds; what is left out stays."""
        webhook = get_configurable_webhook(request, project, pk)
        changes = parse_body(bodies.WebhookChangesBody, request)
        return Response(
            serialize_webhook(request, services.update_webhook(actor=request.actor, webhook=webhook, **changes))
        )

    @extend_schema(operation_id="webhooks_delete", request=None, responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Delete it with what waits to be sent to it."""
        services.delete_webhook(actor=request.actor, webhook=get_configurable_webhook(request, project, pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhookSecret(APIView):
    @extend_schema(operation_id="webhooks_renew_secret", request=None, responses=bodies.NewWebhookSecretSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Replace the secret at once; the new one is in this answer and nowhere else."""
        webhook = get_configurable_webhook(request, project, pk)
        webhook, secret = services.renew_webhook_secret(actor=request.actor, webhook=webhook)
        return Response(serialize_webhook(request, webhook, secret), headers=NOT_STORED)


class WebhookEnable(APIView):
    @extend_schema(operation_id="webhooks_enable", request=None, responses=bodies.WebhookSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Send to it again after it was disabled, what waits first."""
        webhook = get_configurable_webhook(request, project, pk)
        return Response(serialize_webhook(request, services.enable_webhook(actor=request.actor, webhook=webhook)))


class WebhookTest(APIView):
    @extend_schema(operation_id="webhooks_test", request=None, responses={202: bodies.WebhookDeliverySerializer})
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Send it a message of type `webhook.test`; the deliveries say what became of it."""
        webhook = get_configurable_webhook(request, project, pk)
        delivery = services.queue_test_message(actor=request.actor, webhook=webhook)
        delivery.refresh_from_db()
        return Response(bodies.WebhookDeliverySerializer(delivery).data, status=status.HTTP_202_ACCEPTED)


class WebhookDeliveryList(APIView):
    @extend_schema(operation_id="webhook_deliveries_list", responses=bodies.WebhookDeliveriesSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The last 20 messages, newest first, with the last error of each."""
        rows = queries.list_deliveries(get_project_webhook(request, project, pk))
        return Response(bodies.WebhookDeliveriesSerializer({"items": rows, "next": None}).data)
