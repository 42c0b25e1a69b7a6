"""Bytes by their SHA-256, and which project may see which bytes."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.artifacts.digests import CHUNK_BYTES
from apps.platform.artifacts.restrictions import HIDDEN_HOLDINGS


class ArtifactQuerySet(models.QuerySet["Artifact"]):
    def visible_to(self, actor: Actor) -> ArtifactQuerySet:
        """Equal bytes are stored once, yet each project sees only what it holds itself."""
        if actor.plane_role:
            return self
        holdings = Holding.objects.filter(artifact=models.OuterRef("pk"), project_id__in=actor.project_ids)
        return self.filter(models.Exists(holdings.readable_by(actor)))


class Artifact(models.Model):
    digest = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    verified_at = models.DateTimeField(null=True)  # last time its bytes were read whole, or written
    touched_at = models.DateTimeField(null=True)  # last time equal bytes came again; what is fresh is no garbage
    damaged_at = models.DateTimeField(null=True)  # other bytes were found in its place, or none
    restored_at = models.DateTimeField(null=True)  # when the right bytes came again after the last damage
    chunked_at = models.DateTimeField(null=True)  # when the digests of its chunks were stored; of one chunk: never
    chunks_wanted_at = models.DateTimeField(null=True)  # a range was requested before: first in the next scrub

    objects = ArtifactQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["verified_at"], name="artifact_scrub"),
            models.Index(
                fields=["chunks_wanted_at", "verified_at"],
                condition=models.Q(chunked_at=None, damaged_at=None, size__gt=CHUNK_BYTES),
                name="artifact_without_chunks",
            ),
            models.Index(fields=["digest"], condition=models.Q(damaged_at__isnull=False), name="artifact_damaged"),
            models.Index(
                fields=["restored_at"], condition=models.Q(restored_at__isnull=False), name="artifact_restored"
            ),
        ]

    def __str__(self) -> str:
        return self.digest


class ChunkDigests(models.Model):
    """SHA-256 of each chunk of CHUNK_BYTES, so that a range is verified without reading the rest.

    Artifacts of one chunk have no row: their own digest covers it. A row holds the digests of CHUNKS_PER_PART chunks
    (32 kB for 1 GiB), so that a range of a large artifact loads one row.
    """

    artifact = models.ForeignKey(Artifact, models.CASCADE, related_name="+", db_index=False)  # the constraint has one
    part = models.PositiveIntegerField()
    digests = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["artifact", "part"], name="chunk_digests_once")]

    def __str__(self) -> str:
        return f"{self.artifact_id}, part {self.part}"


class Collected(models.Model):
    """The bytes of this digest went as garbage, row and all: whoever registers them next looks whether they are there.

    The row of the artifact goes too, so that no foreign key can come to lead to bytes that are gone.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.digest


class HoldingQuerySet(models.QuerySet["Holding"]):
    def readable_by(self, actor: Actor) -> HoldingQuerySet:
        """Without what a security label hides from the actor. Of holdings in projects that the actor may see."""
        rows = self
        if not actor.is_cleared_for_all:
            for build_condition in HIDDEN_HOLDINGS.values():
                rows = rows.exclude(build_condition(actor))
        return rows


class Holding(models.Model):
    """A project holds an artifact under a name: whoever sent the bytes, or made them, may see them."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="holdings", db_index=False)  # holding_once has it
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="holdings")
    name = models.CharField(max_length=255, blank=True)
    media_type = models.CharField(max_length=120, default="application/octet-stream")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    # The label of bytes whose labelled version was deleted; None: what has the bytes hides them, or nothing does.
    security_label = models.PositiveSmallIntegerField(null=True)

    objects = HoldingQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "artifact"], name="holding_once")]
        indexes = [
            models.Index(fields=["project", "-id"], name="holding_recent"),
            models.Index(fields=["project"], name="holding_labelled", condition=models.Q(security_label__isnull=False)),
        ]
