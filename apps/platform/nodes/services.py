"""Writes of nodes: a worker registers and is heard of, a system administrator holds and releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.platform.audit import services as audit
from apps.platform.nodes import samples
from apps.platform.nodes.labels import parse_labels
from apps.platform.nodes.models import Node, NodeSample
from deepseek.messages import N_

# What makes a node another machine to the placement of jobs. The process and the boot change with every restart.
DESCRIBED = ("host", "queues", "cpus", "memory_bytes", "disk_bytes", "gpus", "extras", "hardware")


def register_node(
    *,
    actor: Actor,
    name: str,
    host: str,
    boot_id: str,
    process_id: int,
    queues: Sequence[str],
    cpus: float,
    memory_bytes: int,
    disk_bytes: int,
    gpus: Sequence[Mapping[str, Any]],
    hardware: Mapping[str, Any],
    extras: Sequence[str] = (),
) -> Node:
    """The node called `name`, made or brought up to date, and heard of now. Sizes in bytes.

    Recorded when it is new or its description differs; a mere restart is telemetry. A hold outlives a restart.
    """
    policy.require(actor, "node.register")
    check_size("name", name, 120)
    described: dict[str, Any] = {
        "host": host,
        "queues": list(queues),
        "cpus": float(cpus),
        "memory_bytes": memory_bytes,
        "disk_bytes": disk_bytes,
        "gpus": [dict(gpu) for gpu in gpus],
        "extras": sorted(extras),
        "hardware": dict(hardware),
    }
    process = {"boot_id": boot_id, "process_id": process_id}
    with transaction.atomic():
        node, created = Node.objects.select_for_update().get_or_create(name=name, defaults={**described, **process})
        before = {field: getattr(node, field) for field in DESCRIBED}
        changed = [field for field in DESCRIBED if created or before[field] != described[field]]
        Node.objects.filter(pk=node.pk).update(**described, **process, heartbeat_at=Now())
        if changed:
            audit.record(
                actor=actor,
                action="node.register",
                obj=node,
                before={} if created else {field: before[field] for field in changed},
                after={field: described[field] for field in changed},
            )
        node.refresh_from_db()
    return node


def record_heartbeat(*, actor: Actor, node: Node, load: Mapping[str, Any]) -> bool:
    """Note that the node lives, by the database's clock, with its load. Telemetry: not recorded.

    False if the row is gone: the worker's thread that keeps the leases must not die of it.
    """
    policy.require(actor, "node.heartbeat")
    return bool(Node.objects.filter(pk=node.pk).update(heartbeat_at=Now(), load=dict(load)))


def record_sample(*, actor: Actor, node: Node, load: Mapping[str, Any], running: int) -> bool:
    """Keep `load` as the sample of this moment, by the database's clock; False if there is one of it already.

    A sample stands for SAMPLE_SECONDS, so a worker that restarts all the time writes no more of them.
    """
    policy.require(actor, "node.heartbeat")
    values = samples.build_sample_columns(load)
    at = samples.floor_time(samples.get_database_now(), samples.SAMPLE_SECONDS)
    sample = NodeSample(node=node, at=at, running_jobs=running, **values)
    if NodeSample.objects.filter(node=node, span=0, at=at).exists():
        return False
    NodeSample.objects.bulk_create([sample], ignore_conflicts=True)
    return True


def keep_samples(*, actor: Actor) -> int:
    """Means for what is old enough to have one, and an end for what is too old; returns how many means were made.

    Safe to run anywhere, any number of times: a mean that is there already stays.
    """
    policy.require(actor, "node.keep_samples")
    count = samples.add_means(NodeSample, "node_id", samples.compute_node_means)
    samples.delete_expired(NodeSample)
    return count


def hold_node(*, actor: Actor, node: Node, reason: str) -> Node:
    """Let the node take no new jobs; those that run there go on. Raises Conflict if it is held already."""
    policy.require(actor, "node.hold")
    reason = reason.strip()
    check_size("reason", reason, 200)
    with transaction.atomic():
        if not Node.objects.filter(pk=node.pk, held_at=None).update(held_at=Now(), held_reason=reason):
            raise Conflict(
                "The node {node_name} is held already.", node_name=node.name, field="node", hint=N_("Release it first.")
            )
        audit.record(
            actor=actor, action="node.hold", obj=node, reason=reason, before={"held": False}, after={"held": True}
        )
        node.refresh_from_db()
    return node


def release_node(*, actor: Actor, node: Node) -> Node:
    """Let a held node take jobs again. Raises Conflict if it is not held."""
    policy.require(actor, "node.release")
    with transaction.atomic():
        if not Node.objects.filter(pk=node.pk, held_at__isnull=False).update(held_at=None, held_reason=""):
            raise Conflict("The node {node_name} is not held.", node_name=node.name, field="node")
        audit.record(actor=actor, action="node.release", obj=node, before={"held": True}, after={"held": False})
        node.refresh_from_db()
    return node


def set_labels(*, actor: Actor, node: Node, labels: str) -> Node:
    """Give the node these labels, with commas between, in place of its own; jobs that run there go on.

    Raises Invalid for a text that is no label or too many of them; Conflict if it has just these.
    """
    policy.require(actor, "node.set_labels")
    new_labels = parse_labels(labels)
    with transaction.atomic():
        locked = Node.objects.select_for_update().get(pk=node.pk)
        if locked.labels == new_labels:
            raise Conflict("The node {node_name} has these labels already.", node_name=node.name, field="labels")
        Node.objects.filter(pk=node.pk).update(labels=new_labels)
        audit.record(
            actor=actor,
            action="node.set_labels",
            obj=node,
            before={"labels": locked.labels},
            after={"labels": new_labels},
        )
        node.refresh_from_db()
    return node


def record_disk_speed(*, actor: Actor, node: Node, speed: Mapping[str, Any]) -> bool:
    """Keep what was measured of the node's disk. Telemetry: not recorded. False if the row is gone."""
    policy.require(actor, "node.record_disk_speed")
    rows = Node.objects.filter(pk=node.pk)
    return bool(rows.update(disk_speed=dict(speed), disk_measured_at=Now()))


def check_size(field: str, value: str, limit: int) -> None:
    """Raise Invalid for a text that is blank or too long."""
    if not value.strip():
        raise Invalid(
            "{name} must not be blank.",
            name=field,
            field=field,
            limit=f"1 to {limit} characters",
            hint=N_("Fill it in."),
        )
    if len(value) > limit:
        raise Invalid(
            "{name} has {count} characters.",
            name=field,
            count=len(value),
            field=field,
            limit=f"{limit} characters",
            hint=N_("Shorten it."),
        )
