"""Endpoints: servers on chosen nodes that answer with the version an alias points to. A replica is one such server."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.ml.endpoints.access import asks_for_token
from apps.ml.endpoints.states import ENDPOINT_MOVES, REPLICA_MOVES, EndpointState, ReplicaState
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.nodes.models import Node


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def visible_to(self, actor: Actor) -> EndpointQuerySet:
        """Those that were not deleted."""
        left = self.exclude(state=EndpointState.DELETED)
        return left if actor.plane_role else left.filter(project_id__in=actor.project_ids)


class Endpoint(models.Model):
    MOVES = ENDPOINT_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="endpoints", db_index=False)  # indexes below
    name = models.CharField(max_length=50)
    model = models.ForeignKey(Model, models.PROTECT, related_name="endpoints")
    alias = models.CharField(max_length=255)  # that it follows
    variant = models.CharField(max_length=60)  # the form of each version that it serves
    replicas_per_node = models.IntegerField(default=1)
    state = models.CharField(max_length=10, default=EndpointState.STARTING, choices=EndpointState.choices)
    state_reason = models.JSONField(default=dict)  # why it is in this state: a message with its id and values
    # What its replicas are to serve: where the alias pointed when the dispatcher last looked.
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="endpoints")
    approval_id = models.BigIntegerField(null=True)  # that let the alias point there
    sampling_rate = models.FloatField(default=0)  # share of the predictions that its servers record; 0: none
    shadow_version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="shadowed_endpoints")
    shadow_rate = models.FloatField(default=1)  # share of the traffic that the candidate sees
    token_digest = models.CharField(max_length=64, default="")  # SHA-256 of its token: 256 random bits need no salt
    token_prefix = models.CharField(max_length=12, default="")
    token_created_at = models.DateTimeField(null=True)  # null: it has no token
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=~Q(state=EndpointState.DELETED), name="endpoint_name"
            )
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="endpoint_recent"),
            # The dispatcher looks for these every second, however many were deleted.
            models.Index(fields=["id"], name="endpoint_active", condition=~Q(state__in=("suspended", "deleted"))),
        ]

    def __str__(self) -> str:
        return self.name


class Replica(models.Model):
    """One server of an endpoint, on one node and port. What the node's keeper reports of it is telemetry."""

    MOVES = REPLICA_MOVES

    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="replicas", db_index=False)
    node = models.ForeignKey(Node, models.PROTECT, related_name="replicas", db_index=False)
    slot = models.IntegerField()  # from 0, on its node
    port = models.IntegerField()
    is_removed = models.BooleanField(default=False)  # no longer wanted: its row goes when its server has ended
    state = models.CharField(max_length=10, default=ReplicaState.STOPPED, choices=ReplicaState.choices)
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+")  # that answers
    error = models.JSONField(default=dict)  # the last one: a message with its id and values
    process_id = models.IntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)  # when its node last reported it
    figures = models.JSONField(default=dict)  # requests, failed, refused, rate, p50_ms, p95_ms, shadow

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "node", "slot"], name="replica_slot"),
            models.UniqueConstraint(fields=["node", "port"], name="replica_port"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.node}:{self.port}"

    @property
    def project_id(self) -> int:
        return self.endpoint.project_id

    @property
    def serving(self) -> dict[str, Any]:
        """Where servers listen on its node, as the node said when it registered: address, ports, tls."""
        return self.node.hardware.get("serving") or {}

    @property
    def host(self) -> str:
        return str(self.serving.get("address", "127.0.0.1"))

    @property
    def address(self) -> str:
        """Of its server."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.serving.get('tls') else 'http'}://{self.address}"

    @property
    def asks_for_token(self) -> bool:
        return asks_for_token(self.endpoint.token_digest, self.host)
