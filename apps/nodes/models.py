"""Machines that run jobs: what they have, and when they were last heard of."""

from __future__ import annotations

from django.db import models

from apps.actors import Actor
from apps.policy import allows


class NodeQuerySet(models.QuerySet["Node"]):
    def visible_to(self, actor: Actor) -> NodeQuerySet:
        return self if allows(actor, "node.view") else self.none()


class Node(models.Model):
    """One worker process on one machine. Whether it is online is derived from `heartbeat_at`, never stored."""

    name = models.CharField(max_length=120, unique=True)
    host = models.CharField(max_length=120)
    boot_id = models.CharField(max_length=40, blank=True)
    process_id = models.IntegerField(null=True)
    queues = models.JSONField(default=list)
    cpus = models.FloatField(default=0)  # what jobs may use together
    memory_bytes = models.BigIntegerField(default=0)
    disk_bytes = models.BigIntegerField(default=0)
    gpus = models.JSONField(default=list)  # [{index, name, memory_bytes, driver, uuid}]
    hardware = models.JSONField(default=dict)  # processor, kernel, versions: to read, not to match
    load = models.JSONField(default=dict)  # last heartbeat: cpu share, memory and disk free, GPU use
    registered_at = models.DateTimeField(auto_now_add=True)
    heartbeat_at = models.DateTimeField(null=True)
    held_at = models.DateTimeField(null=True)  # takes no new jobs
    held_reason = models.CharField(max_length=200, blank=True)

    objects = NodeQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
