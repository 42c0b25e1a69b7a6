"""Machines that run jobs: their resources and their last heartbeat."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from apps.core.actors import Actor
from apps.core.policy import is_allowed

ONLINE_SECONDS = 15
"""A node not heard of for longer is offline: three heartbeats of 5 s may be lost."""


def build_online_filter(field: str) -> models.Q:
    """Of rows with a heartbeat in `field`: that it is recent. One in the future was written before the clock was set
    back, and says nothing.
    """
    near = timedelta(seconds=ONLINE_SECONDS)
    return models.Q(**{f"{field}__gte": Now() - near, f"{field}__lte": Now() + near})


class NodeQuerySet(models.QuerySet["Node"]):
    def visible_to(self, actor: Actor) -> NodeQuerySet:
        return self if is_allowed(actor, "node.view") else self.none()

    def with_status(self) -> NodeQuerySet:
        """Annotate `online`, decided by the database's clock, and `status`: offline, held or online.

        A node both held and silent is offline: that is what to look at first.
        """
        heard = build_online_filter("heartbeat_at")
        return self.annotate(
            online=models.Case(models.When(heard, then=True), default=False, output_field=models.BooleanField()),
            status=models.Case(
                models.When(~heard | models.Q(heartbeat_at=None), then=models.Value("offline")),
                models.When(held_at__isnull=False, then=models.Value("held")),
                default=models.Value("online"),
                output_field=models.CharField(),
            ),
        )

    def with_use(self) -> NodeQuerySet:
        """Annotate what running jobs have claimed: `running_jobs`, `used_cpus`, `used_memory_bytes`, `used_gpus`.

        Through the reverse relations by their names: jobs stand above nodes and are not imported here. A job over
        several nodes has its first one; each further one is counted by its open member. Subqueries, not joins: what a
        query groups its rows by, databases compute twice.
        """
        return self.annotate(
            running_jobs=sum_over_jobs("pk", 0, models.Count),
            used_cpus=sum_over_jobs("need_cpus", 0.0),
            used_memory_bytes=sum_over_jobs("need_memory_bytes", 0),
            used_gpus=sum_over_jobs("need_gpus", 0),
        )


def sum_over_jobs(field: str, default: float, total: type[models.Aggregate] = models.Sum) -> Combinable:
    """`total` of a field over the running jobs of a node, and over its open members of those of several nodes, but for
    members of rank 0, which have the job's own row.
    """
    node = Node.objects.filter(pk=models.OuterRef("pk")).order_by().values("pk")
    own = node.filter(jobs__state="running").annotate(total=total(f"jobs__{field}"))
    shared = node.filter(
        members__state__in=("invited", "joined", "running"),  # by the index job_member_open
        members__rank__gt=0,
        members__job__state="running",
        members__job__attempt=models.F("members__attempt"),
    ).annotate(total=total(f"members__job__{field}"))
    sums = [Coalesce(models.Subquery(rows.values("total")), models.Value(default)) for rows in (own, shared)]
    return sums[0] + sums[1]


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
    extras = models.JSONField(
        default=list
    )  # names of what it has beyond the core (apps/platform/nodes/extras.py), sorted
    hardware = models.JSONField(default=dict)  # processor, kernel, versions: to read, not to match
    load = models.JSONField(default=dict)  # last heartbeat: cpu share, memory and disk free, GPU use
    labels = models.JSONField(default=list)  # that jobs may ask for (labels.py), sorted; set by an administrator
    disk_speed = models.JSONField(default=dict)  # of the jobs' scratch: bytes per second, as disk_speed.py measures
    disk_measured_at = models.DateTimeField(null=True)
    registered_at = models.DateTimeField(auto_now_add=True)
    heartbeat_at = models.DateTimeField(null=True)
    held_at = models.DateTimeField(null=True)  # takes no new jobs
    held_reason = models.CharField(max_length=200, blank=True)
    failed_checks = models.JSONField(default=list)  # required ones of its doctor: it takes no new jobs

    objects = NodeQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def short_disks(self) -> list[dict[str, Any]]:
        """The disks with too little room for another job, as its worker found at the last heartbeat (disks.py)."""
        return list((self.load or {}).get("short_disks", ()))


class NodeToken(models.Model):
    """The secret by which a node's doctor reports, kept as its SHA-256; a node has one, and a new one replaces it."""

    node = models.OneToOneField(Node, models.CASCADE, related_name="token")
    prefix = models.CharField(max_length=12)  # shown: finds a token that leaked
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.prefix}... of {self.node_id}"


class NodeHealthReport(models.Model):
    """A report of a node's doctor: telemetry, but for what keeps jobs away, which is recorded (health/services.py)."""

    node = models.ForeignKey(Node, models.CASCADE, related_name="health_reports", db_index=False)
    at = models.DateTimeField(db_default=Now())  # by the database's clock
    level = models.SmallIntegerField()
    seconds = models.FloatField()
    software = models.CharField(max_length=120, blank=True)
    counts = models.JSONField(default=dict)  # verdict -> number of checks
    failed_checks = models.JSONField(default=list)  # of the node, once this report had come
    checks = models.JSONField(default=list)  # [{id, group, verdict, why, remedy, level, required}]

    class Meta:
        indexes = [
            models.Index(fields=["node", "-id"], name="node_health_newest"),
            models.Index(fields=["at"], name="node_health_age"),  # for those who expire them
        ]

    def __str__(self) -> str:
        return f"report {self.pk} of {self.node_id}"


class ConflictRules(models.Model):
    """Known hardware conflicts that the site has imported; the newest row counts (health/conflicts.py)."""

    version = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)  # SHA-256 of the signed payload
    key_ids = models.JSONField(default=list)
    rules = models.JSONField(default=list)
    imported_by = models.CharField(max_length=200)
    imported_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"conflicts {self.version}"


class NodeSample(models.Model):
    """How busy a node was: telemetry, exempt from the audit, written by its heartbeat (apps/platform/nodes/samples.py).

    `span` is 0 for a measurement and, for the mean of a stretch of time, its seconds; `at` is where that begins, by
    the database's clock. Shares are 0 to 1, sizes bytes; what was not told is null.
    """

    # Without an index of its own: the constraint's begins with it.
    node = models.ForeignKey(Node, models.CASCADE, related_name="samples", db_index=False)
    span = models.SmallIntegerField(default=0)
    at = models.DateTimeField()
    cpu_share = models.FloatField(null=True)
    memory_used_bytes = models.BigIntegerField(null=True)
    memory_total_bytes = models.BigIntegerField(null=True)
    disk_used_bytes = models.BigIntegerField(null=True)  # where the jobs' scratch lies
    disk_total_bytes = models.BigIntegerField(null=True)
    store_used_bytes = models.BigIntegerField(null=True)  # of the artifacts, where they are a folder
    store_total_bytes = models.BigIntegerField(null=True)
    running_jobs = models.FloatField(default=0)
    gpus = models.JSONField(default=list)  # [{index, busy, memory_used_bytes, memory_bytes, temperature}]

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "span", "at"], name="node_sample_once")]
        indexes = [models.Index(fields=["span", "at"], name="node_sample_age")]  # for those who expire them

    def __str__(self) -> str:
        return f"{self.node_id} {self.at:%Y-%m-%d %H:%M:%S}"


# At the end: they name the tables above.
from apps.platform.nodes.probes.models import NodeProbe, Probe  # noqa: E402

__all__ = [
    "ConflictRules",
    "Node",
    "NodeHealthReport",
    "NodeProbe",
    "NodeQuerySet",
    "NodeSample",
    "NodeToken",
    "Probe",
    "build_online_filter",
]
