"""What the dispatcher does for endpoints: follow their aliases, and derive their states from their replicas."""

from __future__ import annotations

from collections import defaultdict

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.ml.endpoints.models import Endpoint, Replica
from apps.ml.endpoints.queries import annotate_fresh
from apps.ml.endpoints.states import EndpointState, ReplicaState
from apps.ml.registry.blocks import find_blocked
from apps.ml.registry.models import Alias
from apps.ml.registry.queries import list_alias_moves
from apps.platform.audit.services import change_state, record
from deepseek.messages import Message, record_messages, restore_message


def follow_aliases(*, actor: Actor) -> None:
    """One round over all endpoints that are to serve. Two queries where nothing has changed."""
    require(actor, "endpoint.follow")
    endpoints = list(
        Endpoint.objects.exclude(state__in=(EndpointState.SUSPENDED, EndpointState.DELETED))
        .select_related("model", "version__model")
        .order_by("pk")
    )
    if not endpoints:
        return
    replicas: dict[int, list[Replica]] = defaultdict(list)
    rows = Replica.objects.filter(endpoint__in=[endpoint.pk for endpoint in endpoints], is_removed=False)
    for replica in annotate_fresh(rows).order_by("pk"):
        replicas[replica.endpoint_id].append(replica)
    aliases = Alias.objects.filter(model__in={endpoint.model_id for endpoint in endpoints})
    targets = {(alias.model_id, alias.name): alias for alias in aliases.select_related("version__model")}
    for endpoint in endpoints:
        try:
            follow_alias(actor, endpoint, targets.get((endpoint.model_id, endpoint.alias)))
            update_state(actor, endpoint, replicas[endpoint.pk])
        except StaleState:  # somebody suspended or deleted it meanwhile
            continue


def follow_alias(actor: Actor, endpoint: Endpoint, alias: Alias | None) -> None:
    """Let the endpoint serve what its alias points to. An alias that points nowhere, or to a version that is blocked,
    leaves it as it is."""
    if alias is None or alias.version_id == endpoint.version_id or find_blocked([alias.version_id]):
        return
    before, approval = endpoint.version, find_approval(alias)
    with transaction.atomic():
        rows = Endpoint.objects.filter(pk=endpoint.pk, version=before)
        if not rows.update(version=alias.version, approval_id=approval):
            return
        record(
            actor=actor,
            action="endpoint.follow",
            obj=endpoint,
            before={"version": before.number if before else None},
            after={"version": alias.version.number, "alias": alias.name, "approval": approval},
            digests={"version": alias.version.digest},
        )
    endpoint.version, endpoint.approval_id = alias.version, approval


def find_approval(alias: Alias) -> int | None:
    """The approval by which the alias points to where it does, if there was one."""
    move = list_alias_moves(alias.model, alias.name).first()
    return move.approval_id if move is not None and move.to_version_id == alias.version_id else None


def update_state(actor: Actor, endpoint: Endpoint, replicas: list[Replica]) -> None:
    """Move the endpoint to the state that its replicas are in, with the reason. No move where nothing has changed."""
    fault = find_fault(endpoint, replicas)
    if fault is None:
        if any(row.state != ReplicaState.SERVING or row.last_seen is None for row in replicas):
            return  # still starting, or starting again: no reason to call it degraded yet
        to, why = EndpointState.SERVING, {}
    else:
        to, why = EndpointState.DEGRADED, record_messages({"message": fault})
    if to != endpoint.state:
        change_state(endpoint, to, actor=actor, reason=fault or "", state_reason=why)
    elif why != endpoint.state_reason:
        Endpoint.objects.filter(pk=endpoint.pk, state=to).update(state_reason=why)


def find_fault(endpoint: Endpoint, replicas: list[Replica]) -> Message | None:
    """The first thing that is wrong with the replicas, or None."""
    for replica in replicas:
        node = replica.node.name
        if replica.last_seen is None:
            if endpoint.state == EndpointState.STARTING:
                continue  # its node has not looked yet
            return Message("The node {node} has not started its replica {slot}.", node=node, slot=replica.slot)
        if not replica.is_fresh:  # type: ignore[attr-defined]  # an annotation
            return Message("The node {node} does not report its replica {slot}.", node=node, slot=replica.slot)
        if replica.error:
            why = restore_message(replica.error)
            return Message("Replica {slot} on {node}: {error}", slot=replica.slot, node=node, error=why)
    return None
