"""Devices, the tokens by which they enrol, their labels, what they report, groups of them, and what they are assigned.

What changes with every poll stands in a table of its own: the indexes of Device are not written for it.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.fleet.devices.states import (
    ASSIGNMENT_MOVES,
    DEVICE_MOVES,
    OFFERED,
    Architecture,
    AssignmentState,
    DeviceKind,
    DeviceState,
    Health,
)
from apps.fleet.releases.models import Release
from apps.ml.observations.models import ObservationSource
from apps.platform.accounts.models import ONE_LINE, SLUG, Project

MAX_LABELS = 100  # tags of a device, and attributes likewise
LABEL_LENGTH = 128  # characters of a key, and of a value
NAME_LENGTH = 100


class EnrolmentTokenQuerySet(models.QuerySet["EnrolmentToken"]):
    def visible_to(self, actor: Actor) -> EnrolmentTokenQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class EnrolmentToken(models.Model):
    """Lets devices in: once, or as the token of a gateway so many times. The secret is shown once and not kept."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="enrolment_tokens", db_index=False)
    name = models.CharField(max_length=80, validators=[ONE_LINE])
    prefix = models.CharField(max_length=12)  # shown in lists, so that a leaked token can be found
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the whole token
    is_gateway = models.BooleanField(default=False)
    max_uses = models.IntegerField(default=1)
    uses = models.IntegerField(default=0)
    tags = models.JSONField(default=dict)  # what a device that it lets in begins with
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EnrolmentTokenQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["project", "-id"], name="enrolment_token_recent")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"


class DeviceQuerySet(models.QuerySet["Device"]):
    def visible_to(self, actor: Actor) -> DeviceQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Device(models.Model):
    """A machine that installs releases and reports. Its row is the lock under which its assignments change."""

    MOVES = DEVICE_MOVES
    is_authenticated = True  # it takes a person's place in `request.user`, where the framework asks this
    is_anonymous = False

    project = models.ForeignKey(Project, models.PROTECT, related_name="devices", db_index=False)  # indexes below
    name = models.CharField(max_length=NAME_LENGTH)
    kind = models.CharField(max_length=10, default=DeviceKind.AGENT, choices=DeviceKind.choices)
    state = models.CharField(max_length=12, default=DeviceState.ACTIVE, choices=DeviceState.choices)
    state_reason = models.CharField(max_length=500, blank=True)  # why it is in this state
    architecture = models.CharField(max_length=10, blank=True, choices=Architecture.choices)  # empty: not known
    public_key = models.CharField(max_length=44, blank=True)  # base64 of 32 bytes; empty: it cannot sign
    token_digest = models.CharField(max_length=64, unique=True)  # of a secret that is not kept
    token_prefix = models.CharField(max_length=12, blank=True)  # empty: a gateway's token speaks for it
    agent_version = models.CharField(max_length=60, blank=True)
    note = models.CharField(max_length=500, blank=True)
    # Counts what a poll would answer with: another number, another answer.
    generation = models.BigIntegerField(default=0)
    sampling_rate = models.FloatField(default=0)  # share of the predictions that it sends; 0: none
    source = models.ForeignKey(ObservationSource, models.PROTECT, null=True, related_name="+")  # of its observations
    running = models.ForeignKey(Release, models.PROTECT, null=True, related_name="+", db_index=False)  # by receipt
    running_since = models.DateTimeField(null=True)  # when the receipt came that moved it
    receipt_counter = models.BigIntegerField(default=0)  # of the last receipt: none below it counts
    receipt_digest = models.CharField(max_length=64, blank=True)
    mismatch = models.CharField(max_length=64, blank=True)  # the release that it says it runs, where no receipt does
    enrolment_token = models.ForeignKey(EnrolmentToken, models.PROTECT, null=True, related_name="devices")
    created_by = models.CharField(max_length=200)
    enrolled_at = models.DateTimeField(auto_now_add=True)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=~Q(state=DeviceState.REVOKED), name="device_name"
            ),
            models.UniqueConstraint(
                fields=["public_key"], condition=~Q(state=DeviceState.REVOKED) & ~Q(public_key=""), name="device_key"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "name", "id"], name="device_by_name"),
            models.Index(fields=["project", "id"], name="device_by_age"),
            models.Index(fields=["project", "state", "id"], name="device_by_state"),
            models.Index(fields=["project", "architecture", "id"], name="device_by_architecture"),
            models.Index(fields=["project", "kind", "id"], name="device_by_kind"),
            models.Index(fields=["running", "project", "id"], name="device_by_running"),
            models.Index(fields=["project", "id"], name="device_mismatched", condition=~Q(mismatch="")),
        ]

    def __str__(self) -> str:
        return self.name


class DeviceTelemetry(models.Model):
    """What a device said of itself last. Written in batches; it decides nothing."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="telemetry")
    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    last_seen = models.DateTimeField(null=True)  # by the plane's clock, to a few seconds
    health = models.CharField(max_length=10, default=Health.UNKNOWN, choices=Health.choices)
    running = models.CharField(max_length=64, blank=True)  # digests of releases, as it says
    installed = models.CharField(max_length=64, blank=True)
    metrics = models.JSONField(default=dict)  # {name: number}
    clock_offset = models.FloatField(null=True)  # seconds that its clock is ahead of the plane's
    address = models.CharField(max_length=45, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["project", "last_seen", "device"], name="device_by_last_seen"),
            models.Index(fields=["project", "health", "device"], name="device_by_health"),
        ]

    def __str__(self) -> str:
        return str(self.device_id)


class LabelKind(models.TextChoices):
    TAG = "tag"  # set by people
    ATTRIBUTE = "attribute"  # reported by the device


class DeviceLabel(models.Model):
    """A tag or an attribute of a device. The project stands here too, so that a query of a group walks one index."""

    device = models.ForeignKey(Device, models.CASCADE, related_name="labels", db_index=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=LabelKind.choices)
    key = models.CharField(max_length=LABEL_LENGTH)
    value = models.CharField(max_length=LABEL_LENGTH, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device", "kind", "key"], name="device_label_once")]
        indexes = [models.Index(fields=["project", "kind", "key", "value", "device"], name="device_by_label")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class DeviceGroupQuerySet(models.QuerySet["DeviceGroup"]):
    def visible_to(self, actor: Actor) -> DeviceGroupQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class DeviceGroup(models.Model):
    """A saved query of devices: whoever fits it now is in the group."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="device_groups", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    description = models.CharField(max_length=500, blank=True)
    query = models.CharField(max_length=2000)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeviceGroupQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="device_group_name")]
        indexes = [models.Index(fields=["project", "-id"], name="device_group_recent")]

    def __str__(self) -> str:
        return self.name


class DeviceCount(models.Model):
    """How many devices of a project are in a state and run a release: pages read these few rows and count nothing."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=12, choices=DeviceState.choices)
    release_id = models.BigIntegerField(default=0)  # 0: none that a receipt vouches for
    devices = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "state", "release_id"], name="device_count_once")]

    def __str__(self) -> str:
        return f"{self.state} {self.release_id}: {self.devices}"


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def visible_to(self, actor: Actor) -> AssignmentQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Assignment(models.Model):
    """A release that a device is to install. A device has at most one that it is told of, and one that waits."""

    MOVES = ASSIGNMENT_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    device = models.ForeignKey(Device, models.PROTECT, related_name="assignments", db_index=False)
    release = models.ForeignKey(Release, models.PROTECT, related_name="assignments", db_index=False)
    state = models.CharField(max_length=12, choices=AssignmentState.choices)
    step = models.CharField(max_length=12, blank=True)  # the last that the device reported
    progress = models.FloatField(null=True)  # of the step, 0 to 1
    code = models.CharField(max_length=60, blank=True)  # why it ended: the device's, or `silent`
    message = models.CharField(max_length=2000, blank=True)  # the last one
    limit_seconds = models.IntegerField()
    deadline = models.DateTimeField(null=True)  # null while it waits; silence until then is a failure
    fetched_at = models.DateTimeField(null=True)  # when the device was told of it first
    superseded_by = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", db_index=False)
    receipt = models.TextField(blank=True)  # the envelope that proved it
    is_signed = models.BooleanField(default=False)  # False of a stock client's success: its word was taken
    reports = models.IntegerField(default=0)  # that the device has sent
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["device"], condition=Q(state__in=OFFERED), name="assignment_offered_once"),
            models.UniqueConstraint(
                fields=["device"], condition=Q(state=AssignmentState.WAITING), name="assignment_waiting_once"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="assignment_recent"),
            models.Index(fields=["project", "state", "-id"], name="assignment_by_state"),
            models.Index(fields=["device", "-id"], name="assignment_of_device"),
            models.Index(fields=["release", "state", "id"], name="assignment_of_release"),
            # The dispatcher looks for these every second, however many have ended.
            models.Index(fields=["deadline"], name="assignment_due", condition=Q(state__in=OFFERED)),
        ]

    def __str__(self) -> str:
        return f"{self.release} on {self.device}"


class AssignmentEvent(models.Model):
    """Something that happened to an assignment, as the device or the plane reported it."""

    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="events", db_index=False)
    at = models.DateTimeField()  # by the plane's clock
    by_device = models.BooleanField()
    step = models.CharField(max_length=12)  # of the device, or the state that the assignment came to
    code = models.CharField(max_length=60, blank=True)
    message = models.CharField(max_length=2000, blank=True)
    progress = models.FloatField(null=True)

    class Meta:
        indexes = [models.Index(fields=["assignment", "id"], name="assignment_events")]

    def __str__(self) -> str:
        return f"{self.step} {self.at:%Y-%m-%dT%H:%M:%S}"


class Presence(models.Model):
    """A stretch of time in which the plane was there; between two of them it was away (absences.py). Telemetry, exempt
    from the audit: what follows from an absence is recorded."""

    began_at = models.DateTimeField()
    until = models.DateTimeField(db_index=True)  # a dispatcher writes it anew while it runs

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%dT%H:%M:%S} to {self.until:%Y-%m-%dT%H:%M:%S}"
