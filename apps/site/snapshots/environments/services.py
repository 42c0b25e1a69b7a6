"""What a worker reports of its machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.audit.services import record
from apps.platform.nodes.models import Node
from apps.site.snapshots.models import NodeEnvironment
from deepseek.environments.inventory import compute_environment_digest

MAX_ENVIRONMENTS = 500  # of a node: the oldest goes


def record_environment(*, actor: Actor, node: Node, document: Mapping[str, Any]) -> NodeEnvironment | None:
    """Keep the environment of the node from now on; None, and nothing is recorded, where it is the one before."""
    policy.require(actor, "node.record_environment")
    digest = compute_environment_digest(document)
    with transaction.atomic():
        former = NodeEnvironment.objects.filter(node=node).order_by("-id").first()
        if former is not None and former.digest == digest:
            return None
        environment = NodeEnvironment.objects.create(node=node, digest=digest, document=dict(document))
        record(
            actor=actor,
            action="node.record_environment",
            obj=node,
            before={"environment": former.digest if former else None},
            after={"environment": digest},
        )
        excess = NodeEnvironment.objects.filter(node=node).order_by("-id").values_list("pk", flat=True)
        if keys := list(excess[MAX_ENVIRONMENTS : MAX_ENVIRONMENTS + 100]):
            NodeEnvironment.objects.filter(pk__in=keys).delete()
    return environment
