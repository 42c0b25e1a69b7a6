"""Bundles that leave and that come in, whose signatures count, and the planes that they travel between."""

from __future__ import annotations

from typing import TypeVar
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.site.transfer.states import (
    INCOMING_MOVES,
    OUTGOING_MOVES,
    SIGNER_MOVES,
    IncomingState,
    OutgoingState,
    SignerState,
)


def build_plane_id() -> str:
    return uuid4().hex


class PlaneIdentity(models.Model):
    """One row: the id by which other planes know this one. Made once, and never changed."""

    plane_id = models.CharField(max_length=32, default=build_plane_id, editable=False)
    name = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.name


class PeerPlane(models.Model):
    """Another plane, and how far the bundles for it have come. Locked while a number is taken."""

    plane_id = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=200)
    sent_sequence = models.BigIntegerField(default=0)  # of the newest bundle that was built for it
    # Of the newest bundle of it that changed this plane as a whole: an older one would put older advisories in place.
    applied_sequence = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class AppliedSequence(models.Model):
    """Number of the newest bundle of a source that a project applied. Each project trusts signers of its own, so what
    one applies closes nothing for the others. Locked while a bundle is applied."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    source_id = models.CharField(max_length=32)
    sequence = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "source_id"], name="applied_sequence_once")]

    def __str__(self) -> str:
        return f"{self.source_id[:12]} up to {self.sequence}"


Row = TypeVar("Row", bound=models.Model)


def filter_visible(rows: models.QuerySet[Row], actor: Actor) -> models.QuerySet[Row]:
    """Those of the actor's projects; all of them for the plane itself and for administrators at a browser."""
    sees_all = actor.plane_role or (actor.system_role and actor.scopes is None)
    return rows if sees_all else rows.filter(project_id__in=actor.project_ids)


class BundleSignerQuerySet(models.QuerySet["BundleSigner"]):
    def visible_to(self, actor: Actor) -> models.QuerySet[BundleSigner]:
        return filter_visible(self, actor)


class OutgoingBundleQuerySet(models.QuerySet["OutgoingBundle"]):
    def visible_to(self, actor: Actor) -> models.QuerySet[OutgoingBundle]:
        return filter_visible(self, actor)


class IncomingBundleQuerySet(models.QuerySet["IncomingBundle"]):
    def visible_to(self, actor: Actor) -> models.QuerySet[IncomingBundle]:
        return filter_visible(self, actor)


class BundleSigner(models.Model):
    """A person's public key, trusted for the bundles of one source in one project, once the approvers said so."""

    MOVES = SIGNER_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    source_id = models.CharField(max_length=32)
    source_name = models.CharField(max_length=200)
    person = models.CharField(max_length=100)
    public_key = models.CharField(max_length=60)  # base64 of 32 bytes
    key_id = models.CharField(max_length=16)
    fingerprint = models.CharField(max_length=64)
    state = models.CharField(max_length=10, default=SignerState.PROPOSED, choices=SignerState.choices)
    proposed_by = models.CharField(max_length=200)
    proposed_at = models.DateTimeField(auto_now_add=True)
    revoke_reason = models.CharField(max_length=500, blank=True)
    expires_at = models.DateTimeField(null=True)  # it counts until then; keys of older planes have no end
    replaces = models.ForeignKey("self", models.PROTECT, null=True, related_name="+")  # revoked once this is trusted

    objects = BundleSignerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "source_id", "fingerprint"],
                condition=~Q(state="revoked"),
                name="bundle_signer_once",
            )
        ]
        indexes = [models.Index(fields=["project", "-id"], name="bundle_signer_recent")]

    def __str__(self) -> str:
        return f"{self.person} of {self.source_name}"


class OutgoingBundle(models.Model):
    """A bundle that is built here for another plane."""

    MOVES = OUTGOING_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    bundle_id = models.CharField(max_length=32, unique=True)  # and the name of its folder
    target_id = models.CharField(max_length=32)
    target_name = models.CharField(max_length=200)
    sequence = models.BigIntegerField()
    contents = models.JSONField()  # references, as they were asked for
    inventory = models.CharField(max_length=64)  # SHA-256 of the target's inventory, an artifact of the project
    volume_bytes = models.BigIntegerField()
    state = models.CharField(max_length=10, default=OutgoingState.QUEUED, choices=OutgoingState.choices)
    manifest = models.TextField(blank=True)  # bundle.json, once it is built
    manifest_digest = models.CharField(max_length=64, blank=True)
    error = models.JSONField(null=True)  # {code, message, field, limit, hint}: why it failed, or is tried again
    progress = models.JSONField(default=dict)  # {stage, done, total, since, at} of the step that runs: bytes
    faults = models.PositiveIntegerField(default=0)  # of the machine, one after another
    retry_at = models.DateTimeField(null=True)  # no worker takes it earlier
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    built_at = models.DateTimeField(null=True)

    objects = OutgoingBundleQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["target_id", "sequence"], name="outgoing_bundle_sequence")]
        indexes = [
            models.Index(fields=["project", "-id"], name="outgoing_bundle_recent"),
            models.Index(fields=["id"], name="outgoing_bundle_queued", condition=Q(state="queued")),
        ]

    def __str__(self) -> str:
        return f"bundle {self.sequence} to {self.target_name}"


class IncomingBundle(models.Model):
    """A bundle of another plane, in quarantine until it is applied."""

    MOVES = INCOMING_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)  # that it is applied to
    bundle_id = models.CharField(max_length=32)
    source_id = models.CharField(max_length=32)
    source_name = models.CharField(max_length=200)
    sequence = models.BigIntegerField()
    manifest = models.TextField()
    manifest_digest = models.CharField(max_length=64)
    envelope = models.TextField()
    state = models.CharField(max_length=10, default=IncomingState.RECEIVING, choices=IncomingState.choices)
    scan = models.JSONField(default=dict)  # {verdict, command}: what the site's scanner said of its objects
    preview = models.JSONField(default=dict)  # {new, present, conflicts, rows: [...]}, as of the last check
    error = models.JSONField(null=True)  # why it was refused, came back, or is tried again
    progress = models.JSONField(default=dict)  # {stage, done, total, since, at} of the step that runs: bytes
    faults = models.PositiveIntegerField(default=0)  # of the machine, one after another
    retry_at = models.DateTimeField(null=True)  # no worker takes it earlier
    plane_contents = models.BooleanField(default=False)  # images, packages, advisories or conflicts are in it
    accepted_by = models.CharField(max_length=200, blank=True)  # who answers for those: a system administrator
    received_by = models.CharField(max_length=200)
    received_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(default=timezone.now)  # when somebody last did something with it
    approval_id = models.BigIntegerField(null=True)
    applied_at = models.DateTimeField(null=True)

    objects = IncomingBundleQuerySet.as_manager()

    class Meta:
        constraints = [
            # Whatever a service does wrong, a project applies no number of a source twice, and has no bundle twice.
            models.UniqueConstraint(
                fields=["project", "source_id", "sequence"],
                condition=Q(state="applied"),
                name="incoming_bundle_applied_once",
            ),
            models.UniqueConstraint(
                fields=["project", "manifest_digest"], condition=~Q(state="discarded"), name="incoming_bundle_once"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="incoming_bundle_recent"),
            models.Index(fields=["id"], name="incoming_bundle_due", condition=Q(state__in=("checking", "approved"))),
        ]

    def __str__(self) -> str:
        return f"bundle {self.sequence} of {self.source_name}"
