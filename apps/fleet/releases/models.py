"""Releases: signed statements that a device may install one variant, the keys that sign them, and the lists of keys."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.fleet.releases.states import KEY_MOVES, RELEASE_MOVES, KeyState, ReleaseState
from apps.ml.registry.models import Model, Variant
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.artifacts.models import Artifact


class ReleaseKey(models.Model):
    """A key of the whole plane. Its private half lies in a file or in a token, never in the database."""

    MOVES = KEY_MOVES

    key_id = models.CharField(max_length=16, unique=True)
    public_key = models.CharField(max_length=44)  # base64 of 32 bytes
    location = models.CharField(max_length=500)  # "file", or a PKCS #11 URI
    state = models.CharField(max_length=10, choices=KeyState.choices)
    revocation_reason = models.CharField(max_length=2000, blank=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="active"), name="release_key_active_once")
        ]

    def __str__(self) -> str:
        return self.key_id


class KeyList(models.Model):
    """One version of the list of keys, signed by a key of the version before. Never changed."""

    version = models.IntegerField(unique=True)
    envelope = models.TextField()  # DSSE, as devices get it
    digest = models.CharField(max_length=64)  # of its payload; of version 1 the fingerprint of the plane
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"key list {self.version}"


class SequenceFloor(models.Model):
    """Where sequences go on after a restore: above all that may have been issued since the backup. Never changed."""

    floor = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"sequences from {self.floor}"


class ReleaseQuerySet(models.QuerySet["Release"]):
    def visible_to(self, actor: Actor) -> ReleaseQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Release(models.Model):
    """One signed statement about one variant. Going back to an older variant takes a release of its own."""

    MOVES = RELEASE_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="releases", db_index=False)
    model = models.ForeignKey(Model, models.PROTECT, related_name="releases")
    model_name = models.CharField(max_length=256)  # as it was signed: devices count sequences by it
    variant = models.ForeignKey(Variant, models.PROTECT, related_name="releases")
    format = models.CharField(max_length=20)
    architecture = models.CharField(max_length=10)  # x86_64, aarch64, any
    sequence = models.BigIntegerField()
    envelope = models.TextField()  # DSSE, as devices get it
    provenance = models.TextField(
        blank=True
    )  # DSSE likewise: of the variant; empty in releases from before there was any
    payload_digest = models.CharField(max_length=64, unique=True)  # what names it: in receipts, in revocations
    key = models.ForeignKey(ReleaseKey, models.PROTECT, related_name="releases")
    approval = models.ForeignKey(Approval, models.PROTECT, related_name="releases")
    state = models.CharField(max_length=10, default=ReleaseState.ISSUED, choices=ReleaseState.choices)
    revocation_reason = models.CharField(max_length=2000, blank=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True)

    objects = ReleaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "model_name", "sequence"], name="release_sequence_once")
        ]
        indexes = [models.Index(fields=["project", "-id"], name="release_recent")]

    def __str__(self) -> str:
        return f"{self.model_name} release {self.sequence}"


class ReleaseFile(models.Model):
    """A file that a release names: its artifact is cited as long as the release exists."""

    release = models.ForeignKey(Release, models.CASCADE, related_name="files", db_index=False)
    name = models.CharField(max_length=100)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    size = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "name"], name="release_file_once")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
