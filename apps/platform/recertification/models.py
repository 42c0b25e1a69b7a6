"""Campaigns in which reviewers confirm or revoke every grant of the plane."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.platform.accounts.models import ONE_LINE, Project


class GrantKind(models.TextChoices):
    MEMBERSHIP = "membership", _("Role in a project")
    SYSTEM_ROLE = "system_role", _("System role")
    TOKEN = "token", _("API token")
    SERVICE_ACCOUNT = "service_account", _("Service account")


class Decision(models.TextChoices):
    PENDING = "pending", pgettext_lazy("grant", "Open")
    CONFIRMED = "confirmed", _("Confirmed")
    REVOKED = "revoked", _("Revoked")
    SUSPENDED = "suspended", _("Suspended")  # by the due date; a reviewer gives it back, or revokes it


OPEN = (Decision.PENDING, Decision.SUSPENDED)


class Campaign(models.Model):
    """A round over all grants there were when it began. Closed, it stays as the evidence of it."""

    name = models.CharField(max_length=120, validators=[ONE_LINE])
    started_by = models.CharField(max_length=200)
    started_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()  # what is open then is overdue
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            # One is open at a time: a grant is reviewed once. `closed_by` is empty in all that are open.
            models.UniqueConstraint(fields=["closed_by"], condition=Q(closed_at=None), name="recertification_one_open")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_overdue(self) -> bool:
        return self.closed_at is None and self.due_at <= timezone.now()


class GrantReviewQuerySet(models.QuerySet["GrantReview"]):
    def visible_to(self, actor: Actor) -> GrantReviewQuerySet:
        """The security administrator and the auditor see all of them, approvers those of their projects."""
        if actor.plane_role or (
            actor.system_role in (SystemRole.SECURITY_ADMIN, SystemRole.AUDITOR) and actor.scopes is None
        ):
            return self
        approves_in = [pk for pk, roles in actor.project_roles.items() if ProjectRole.APPROVER in roles]
        return self.none() if actor.scopes is not None else self.filter(project_id__in=approves_in)

    def decidable_by(self, actor: Actor) -> GrantReviewQuerySet:
        """Those that this reviewer decides: never one's own; the system roles of security administrators are the
        auditor's to review, all others the security administrator's, what is in a project also its approvers'."""
        foreign = self.visible_to(actor).exclude(user_id=actor.user_id or 0)
        of_security = Q(kind=GrantKind.SYSTEM_ROLE, description=SystemRole.SECURITY_ADMIN.value)
        if actor.system_role == SystemRole.AUDITOR:
            return foreign.filter(of_security)
        return foreign.exclude(of_security)


class GrantReview(models.Model):
    """One grant of a campaign, as it was when the campaign began. No foreign key to it: it may be gone."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="reviews", db_index=False)
    kind = models.CharField(max_length=20, choices=GrantKind.choices)
    object_id = models.BigIntegerField()  # of the membership, user, token or service account
    user_id = models.BigIntegerField(null=True)  # whose grant it is; None: a service account's
    holder = models.CharField(max_length=200)
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="+", db_index=False)
    description = models.CharField(max_length=300)  # the role, or the scopes
    decision = models.CharField(max_length=10, choices=Decision.choices, default=Decision.PENDING)
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=2000, blank=True)
    suspended_at = models.DateTimeField(null=True)
    restored_at = models.DateTimeField(null=True)

    objects = GrantReviewQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["campaign", "kind", "object_id"], name="grant_review_once"),
            models.CheckConstraint(
                condition=Q(decision=Decision.PENDING) ^ Q(decided_at__isnull=False), name="grant_review_decided"
            ),
        ]
        indexes = [
            models.Index(fields=["campaign", "id"], name="grant_review_order"),
            models.Index(fields=["campaign", "holder", "id"], name="grant_review_holder"),
            models.Index(fields=["campaign", "id"], name="grant_review_open", condition=Q(decision=Decision.PENDING)),
        ]

    def __str__(self) -> str:
        return f"{self.holder}: {self.description}"
