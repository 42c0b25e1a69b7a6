"""Notices of people, what they have chosen, webhooks of projects, and the outbox of mails and webhook messages."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.core.actors import Actor, SystemRole
from apps.core.encryption.fields import EncryptedTextField
from apps.platform.accounts.models import ONE_LINE, Project, User
from apps.platform.notices.states import (
    DELIVERY_MOVES,
    WEBHOOK_MOVES,
    Channel,
    DeliveryChannel,
    DeliveryState,
    WebhookState,
)
from apps.platform.notices.webhook_secrets import PURPOSE


class NoticeQuerySet(models.QuerySet["Notice"]):
    def visible_to(self, actor: Actor) -> NoticeQuerySet:
        """One's own in the bell; without those of projects that one has left, or that a token is not bound to."""
        if actor.user_id is None:
            return self.none()
        own = self.filter(recipient_id=actor.user_id, in_bell=True)
        if actor.system_role is not None and actor.scopes is None:
            return own
        return own.filter(Q(project__isnull=True) | Q(project_id__in=actor.project_ids))


class Notice(models.Model):
    """Something that one person is told. Its text is a message by id and values (docs/adr/0026)."""

    recipient = models.ForeignKey(User, models.CASCADE, related_name="+", db_index=False)
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="+", db_index=False)
    kind = models.CharField(max_length=60)  # a key of NOTICE_KINDS
    subject_type = models.CharField(max_length=40)
    subject_id = models.CharField(max_length=80)
    path = models.CharField(max_length=300)  # of the subject's page, from the plane's root
    message = models.JSONField()  # Message.as_fields()
    in_bell = models.BooleanField()  # False: the person chose other channels alone
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["recipient", "-id"], name="notice_of_person", condition=Q(in_bell=True)),
            # The bell of every page counts these.
            models.Index(
                fields=["recipient", "-id"], name="notice_unread", condition=Q(in_bell=True, read_at__isnull=True)
            ),
            models.Index(
                fields=["subject_type", "subject_id"],
                name="notice_unread_of_subject",
                condition=Q(read_at__isnull=True),
            ),
            models.Index(fields=["created_at"], name="notice_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.recipient_id}"


class NoticePreference(models.Model):
    """That a person wants a kind of notice on a channel, or does not. Without a row: the kind's own channels."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=60)
    channel = models.CharField(max_length=10, choices=Channel.choices)
    enabled = models.BooleanField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "kind", "channel"], name="notice_preference_once")]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}"


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def visible_to(self, actor: Actor) -> WebhookQuerySet:
        """Members see those of their projects; the security administrator and the auditor, at a browser, all."""
        reads_all = actor.system_role in (SystemRole.SECURITY_ADMIN, SystemRole.AUDITOR) and actor.scopes is None
        return self if reads_all or actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Webhook(models.Model):
    """An address that is sent the notices of a project. Its secret signs them, so it is kept encrypted, not hashed."""

    MOVES = WEBHOOK_MOVES

    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)  # the constraint's own
    name = models.CharField(max_length=60, validators=[ONE_LINE])
    url = models.CharField(max_length=500)
    kinds = models.JSONField(default=list)  # keys of NOTICE_KINDS; none: every kind
    secret = EncryptedTextField(purpose=PURPOSE)
    state = models.CharField(max_length=10, default=WebhookState.ENABLED, choices=WebhookState.choices)
    state_reason = models.JSONField(default=dict)  # why it is disabled: Message.as_fields()
    failures = models.PositiveIntegerField(default=0)  # attempts that failed since the last that did not
    next_at = models.DateTimeField(null=True)  # before it nothing is sent: the last attempt failed
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="webhook_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """What of the address everybody in the project may see: the rest of it may be a secret."""
        return self.url.split("/")[2]


class Delivery(models.Model):
    """One mail or webhook message on its way out, written in the transaction of what it tells of."""

    MOVES = DELIVERY_MOVES

    channel = models.CharField(max_length=10, choices=DeliveryChannel.choices)
    event_id = models.CharField(max_length=40, unique=True)  # the same in every attempt: receivers drop repetitions
    kind = models.CharField(max_length=60)
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="+", db_index=False)
    notice = models.ForeignKey(Notice, models.CASCADE, null=True, related_name="+")  # of a mail
    webhook = models.ForeignKey(Webhook, models.CASCADE, null=True, related_name="+", db_index=False)
    body = models.TextField(blank=True)  # of a webhook message: canonical JSON, as it is sent and signed
    state = models.CharField(max_length=10, default=DeliveryState.PENDING, choices=DeliveryState.choices)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # The dispatcher looks for these every second, however many have been sent.
            models.Index(
                fields=["channel", "next_at"], name="delivery_open", condition=Q(state__in=["pending", "failed"])
            ),
            models.Index(fields=["webhook", "-id"], name="delivery_of_webhook"),
            models.Index(fields=["ended_at"], name="delivery_by_end", condition=Q(ended_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"
