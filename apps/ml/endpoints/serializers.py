"""Endpoints that go out, and the answer of a try."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.endpoints.models import Endpoint, Replica

LINKS = {
    "self": "api-endpoint",
    "suspend": "api-endpoint-suspend",
    "resume": "api-endpoint-resume",
    "predict": "api-endpoint-predict",
    "token": "api-endpoint-token",
}


class EndpointLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    suspend = serializers.CharField()
    resume = serializers.CharField()
    predict = serializers.CharField()
    token = serializers.CharField()


class ShadowField(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    rate = serializers.FloatField()


class ReplicaSerializer(serializers.ModelSerializer[Replica]):
    node = serializers.CharField(source="node.name")
    url = serializers.CharField(help_text="Where its server answers.")
    asks_for_token = serializers.BooleanField(help_text="Whether its server refuses who has no token.")
    version = serializers.IntegerField(source="version.number", allow_null=True, default=None)
    error = serializers.SerializerMethodField(help_text="The last one; empty where all is well.")
    figures = serializers.DictField(help_text="requests, failed, refused, rate (a second), p50_ms, p95_ms, shadow.")

    class Meta:
        model = Replica
        fields = (
            "node",
            "slot",
            "url",
            "asks_for_token",
            "state",
            "version",
            "error",
            "process_id",
            "started_at",
            "last_seen",
            "figures",
        )
        read_only_fields = fields

    def get_error(self, replica: Replica) -> str:
        return str(replica.error.get("message", ""))


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """An endpoint in a list. Needs `project` (the slug) in the context."""

    model = serializers.CharField(source="model.name")
    version = serializers.IntegerField(source="version.number", allow_null=True, default=None)
    approval = serializers.IntegerField(source="approval_id", allow_null=True)
    replicas_per_node = serializers.IntegerField()
    reason = serializers.SerializerMethodField(help_text="Why it is in its state.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Endpoint
        fields: tuple[str, ...] = (
            "name",
            "model",
            "alias",
            "variant",
            "version",
            "approval",
            "state",
            "reason",
            "replicas_per_node",
            "sampling_rate",
            "token_prefix",
            "token_created_at",
            "created_by",
            "created_at",
            "links",
        )
        read_only_fields = fields

    def get_reason(self, endpoint: Endpoint) -> str:
        return str(endpoint.state_reason.get("message", ""))

    @extend_schema_field(EndpointLinks)
    def get_links(self, endpoint: Endpoint) -> dict[str, str]:
        where = {"project": self.context["project"], "name": endpoint.name}
        return {rel: reverse(name, kwargs=where) for rel, name in LINKS.items()}


class EndpointDetailSerializer(EndpointSerializer):
    """An endpoint whole. Needs its `replicas` in the context, too."""

    replicas = serializers.SerializerMethodField()
    shadow = serializers.SerializerMethodField()

    class Meta(EndpointSerializer.Meta):
        fields = (*EndpointSerializer.Meta.fields, "shadow", "replicas")
        read_only_fields = fields

    @extend_schema_field(ReplicaSerializer(many=True))
    def get_replicas(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        return [dict(row) for row in ReplicaSerializer(self.context["replicas"], many=True).data]

    @extend_schema_field(ShadowField(allow_null=True))
    def get_shadow(self, endpoint: Endpoint) -> dict[str, Any] | None:
        if endpoint.shadow_version is None:
            return None
        return {"version": endpoint.shadow_version.number, "rate": endpoint.shadow_rate}


class TrySerializer(serializers.Serializer[Any]):
    status = serializers.IntegerField(help_text="HTTP status of the server's answer.")
    body = serializers.JSONField(help_text="The server's answer, as it came.")
    replica = serializers.CharField()
    version = serializers.CharField(help_text="Number of the version that answered.")
    milliseconds = serializers.FloatField()


class EndpointTokenSerializer(serializers.Serializer[Any]):
    """A new token, shown once."""

    token = serializers.CharField(help_text="For the header Authorization: Bearer TOKEN. Only its digest is kept.")
    token_prefix = serializers.CharField()
    created_at = serializers.DateTimeField()
