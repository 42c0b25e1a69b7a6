"""How the API shows notices and webhooks, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.notices import validation
from apps.platform.notices.models import Delivery, Notice, Webhook
from apps.platform.notices.services.inbox import MAX_MARKED


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    message = serializers.CharField(source="message.message")
    url = serializers.CharField(source="path", help_text="The page of what it is about, from the plane's root.")

    class Meta:
        model = Notice
        fields = ["id", "kind", "project", "subject_type", "subject_id", "message", "url", "created_at", "read_at"]
        read_only_fields = fields


class NoticeReadBody(serializers.Serializer[Any]):
    read = serializers.BooleanField(help_text="true: mark it as read. A notice does not become unread again.")

    def validate_read(self, value: bool) -> bool:
        if not value:
            raise serializers.ValidationError("A notice does not become unread again: send true.")
        return value


class NoticesReadBody(serializers.Serializer[Any]):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        required=False,
        allow_null=True,
        default=None,
        max_length=MAX_MARKED,
        help_text="Which; left out: every notice of the caller.",
    )


class NoticesMarkedSerializer(serializers.Serializer[Any]):
    marked = serializers.IntegerField(help_text="How many had not been read.")


class NoticeKindSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    description = serializers.CharField()
    bell = serializers.BooleanField()
    mail = serializers.BooleanField()


class NoticePreferencesSerializer(serializers.Serializer[Any]):
    mail_enabled = serializers.BooleanField(help_text="Whether this plane sends mail at all: MAIL_URL.")
    address = serializers.CharField(allow_blank=True, help_text="Where mails go; empty: nowhere.")
    items = NoticeKindSerializer(many=True)


class NoticePreferencesBody(serializers.Serializer[Any]):
    address = serializers.EmailField(
        max_length=254, required=False, allow_blank=True, help_text="Where mails go; empty: nowhere."
    )
    choices = serializers.DictField(
        child=serializers.DictField(child=serializers.BooleanField()),
        required=False,
        default=dict,
        help_text='{kind: {"bell": true, "mail": false}}; what is left out stays.',
    )


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    host = serializers.CharField(help_text="Host and port of the address.")
    state_reason = serializers.CharField(source="state_reason.message", default="", help_text="Why it is disabled.")
    url = serializers.SerializerMethodField(help_text="For who may configure webhooks, and the auditor; else null.")

    class Meta:
        model = Webhook
        fields = ["id", "name", "host", "url", "kinds", "state", "state_reason", "failures", "created_by", "created_at"]
        read_only_fields = fields
        extra_kwargs = {
            "kinds": {"help_text": "Kinds of notices that are sent; none: every kind."},
            "failures": {"help_text": "Attempts that failed since the last that did not."},
        }

    def get_url(self, webhook: Webhook) -> str | None:
        return webhook.url if self.context.get("shows_url") else None


class NewWebhookSecretSerializer(WebhookSerializer):
    secret = serializers.SerializerMethodField(help_text="Shown this once: the receiver verifies signatures with it.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields

    def get_secret(self, webhook: Webhook) -> str:
        return str(self.context["secret"])


class WebhookDeliverySerializer(serializers.ModelSerializer[Delivery]):
    class Meta:
        model = Delivery
        fields = ["id", "event_id", "kind", "state", "attempts", "error", "next_at", "created_at", "ended_at"]
        read_only_fields = fields
        extra_kwargs = {
            "event_id": {"help_text": "`webhook-id` of every attempt."},
            "next_at": {"help_text": "Of one that is pending or failed: when it is tried next."},
        }


class WebhookDeliveriesSerializer(serializers.Serializer[Any]):
    items = WebhookDeliverySerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Always null: the last 20.")


class NewWebhookBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=validation.MAX_NAME_LENGTH, help_text="Unique in the project.")
    url = serializers.CharField(
        max_length=validation.MAX_URL_LENGTH, help_text="http(s)://host[:port]/path, of a host in NOTICE_HOSTS."
    )
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=60),
        required=False,
        default=list,
        max_length=100,
        help_text="Kinds of notices to send; none: every kind.",
    )


class WebhookChangesBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=validation.MAX_NAME_LENGTH, required=False)
    url = serializers.CharField(max_length=validation.MAX_URL_LENGTH, required=False)
    kinds = serializers.ListField(child=serializers.CharField(max_length=60), required=False, max_length=100)
