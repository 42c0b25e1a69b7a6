"""The audit trail: canonical text first, indexed copies beside it. Triggers keep it append-only (migrations)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor, SystemRole
from apps.platform.audit.restrictions import HIDDEN_OBJECTS

# The records by which grants of accounts, and labels of projects, change: read by account, however many log-ins stand
# between them.
GRANT_CHANGES = (
    "member.remove",
    "member.set_roles",
    "project.set_label",
    "service_account.create",
    "service_account.disable",
    "service_account.set_clearance",
    "user.create",
    "user.disable",
    "user.enable",
    "user.set_clearance",
    "user.set_expiry",
    "user.set_system_role",
)


class Result(models.TextChoices):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class AuditQuerySet(models.QuerySet["AuditRecord"]):
    def visible_to(self, actor: Actor) -> AuditQuerySet:
        """The auditor reads everything, a member the records of their projects, nobody else anything."""
        narrowed = actor.scopes is not None and "audit:read" not in actor.scopes
        if (actor.system_role is SystemRole.AUDITOR and not narrowed) or actor.plane_role:
            return self
        if actor.scopes is not None and not actor.scopes & {"read", "audit:read"}:
            return self.none()
        rows = self.filter(project_id__in=actor.project_ids)
        if not actor.is_cleared_for_all:
            for object_type, list_hidden in HIDDEN_OBJECTS.items():
                rows = rows.exclude(object_type=object_type, object_id__in=list_hidden(actor))
        return rows


class AuditRecord(models.Model):
    """One fact. `body` is what is hashed, verbatim; every other column is a copy for an index or the chain.

    No foreign keys: a SET_NULL would be an update, and the triggers refuse every update but the sealing one.
    """

    body = models.TextField()
    seq = models.BigIntegerField(null=True, unique=True)
    prev = models.CharField(max_length=80, null=True)  # noqa: DJ001  sealing is NULL -> value, for all three
    hash = models.CharField(max_length=80, null=True)  # noqa: DJ001  64 hex digits, behind "sm3:" where sealed by SM3

    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    user_id = models.BigIntegerField(null=True)
    project_id = models.BigIntegerField(null=True)
    job_id = models.BigIntegerField(null=True)
    action = models.CharField(max_length=80)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=80, blank=True)
    result = models.CharField(max_length=10)
    request_id = models.CharField(max_length=40, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        indexes = [
            # The sealer asks for nothing else, ten times a second.
            models.Index(fields=["id"], name="audit_unsealed", condition=Q(seq__isnull=True)),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_object"),
            models.Index(fields=["project_id", "-id"], name="audit_project"),
            models.Index(fields=["actor", "-id"], name="audit_actor"),
            models.Index(fields=["action", "-id"], name="audit_action"),
            models.Index(fields=["result", "-id"], name="audit_result"),
            models.Index(fields=["at", "id"], name="audit_time"),  # a range of time, and what happened today
            models.Index(fields=["request_id", "-id"], name="audit_request"),
            models.Index(fields=["job_id", "-id"], name="audit_job", condition=Q(job_id__isnull=False)),
            models.Index(
                fields=["object_type", "object_id", "id"],
                name="audit_grants",
                condition=Q(action__in=GRANT_CHANGES),
            ),
        ]


class ChainHead(models.Model):
    """The one row that a sealer locks: where the chain ends. `pk` is always 1."""

    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=80)
    checkpoint_seq = models.BigIntegerField(default=0)
    checkpoint_at = models.DateTimeField(null=True)
    key_id = models.CharField(max_length=16, blank=True)  # whose key signs this chain; "" before the first checkpoint
    sealed_at = models.DateTimeField(null=True)


class VerificationRun(models.Model):
    """A verification of the whole trail that somebody asked for; the dispatcher walks it and tells how far it is.

    No `state`: what has happened to it is in its times. Its result is a record of the trail, as with every other one.
    """

    asked_by = models.CharField(max_length=200)
    asked_at = models.DateTimeField(auto_now_add=True)
    attempt = models.PositiveIntegerField(default=0)  # the fence: an older walk writes nothing any more
    beat_at = models.DateTimeField(null=True)  # taken, and alive at this time
    walked = models.BigIntegerField(default=0)  # records so far
    until = models.BigIntegerField(default=0)  # records that there were when it began
    ended_at = models.DateTimeField(null=True)
    whole = models.BooleanField(null=True)
    finding = models.CharField(max_length=1000, blank=True)
    seconds = models.FloatField(null=True)

    class Meta:
        indexes = [models.Index(fields=["id"], name="audit_runs_open", condition=Q(ended_at__isnull=True))]

    def __str__(self) -> str:
        return f"verification {self.pk}"

    @property
    def state(self) -> str:
        """queued, running, succeeded (the trail is whole) or failed (it is broken)."""
        if self.ended_at is None:
            return "queued" if self.beat_at is None else "running"
        return "succeeded" if self.whole else "failed"
