"""Requests for approval, the votes on them, and what a project asks of them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now

from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.platform.accounts.models import Project, ServiceAccount, ServiceAccountHolder, User
from apps.platform.accounts.token_holders import is_holder
from apps.platform.approvals.states import ENDED, MOVES, ApprovalState, Decision


class ApprovalQuerySet(models.QuerySet["Approval"]):
    def visible_to(self, actor: Actor) -> ApprovalQuerySet:
        """Members see those of their projects; the auditor, at a browser, those of all."""
        reads_all = actor.system_role is SystemRole.AUDITOR and actor.scopes is None
        return self if reads_all or actor.plane_role else self.filter(project_id__in=actor.project_ids)

    def with_due(self) -> ApprovalQuerySet:
        """Annotate `due`: the deadline has passed, by the database's clock."""
        late = models.When(deadline_at__lte=Now(), then=True)
        return self.annotate(due=models.Case(late, default=False, output_field=models.BooleanField()))

    def with_given(self) -> ApprovalQuerySet:
        """Annotate `given`: how many votes for it count now."""
        votes = Vote.objects.filter(approval=OuterRef("pk")).counting(OuterRef("project"))
        counted = votes.order_by().values("approval").annotate(count=Count("pk")).values("count")
        return self.annotate(given=Coalesce(Subquery(counted), 0))


class Approval(models.Model):
    """One question to the approvers of a project: may this happen, on exactly these facts?"""

    MOVES = MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="approvals", db_index=False)
    subject_type = models.CharField(max_length=40)  # a key of APPROVAL_SUBJECTS
    subject_id = models.CharField(max_length=80)  # as the subject's own app names it; opaque here
    title = models.CharField(max_length=200)
    facts = models.TextField()  # canonical JSON, as asked for; never changed
    facts_digest = models.CharField(max_length=64)
    comment = models.CharField(max_length=2000, blank=True)
    requester = models.CharField(max_length=200)
    requester_user = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", db_index=False)
    requester_service_account = models.ForeignKey(
        ServiceAccount, models.PROTECT, null=True, related_name="+", db_index=False
    )
    # An earlier request of the same undertaking: who asked for that one does not decide this one either.
    follows = models.ForeignKey("self", models.PROTECT, null=True, related_name="+", db_index=False)
    needed = models.PositiveSmallIntegerField()  # votes for it
    eligible = models.PositiveSmallIntegerField()  # people who could vote when it was asked for
    deadline_at = models.DateTimeField()
    state = models.CharField(max_length=10, default=ApprovalState.PENDING, choices=ApprovalState.choices)
    void_changes = models.JSONField(default=list)  # [{path, was, is}]; see differences.py
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "subject_type", "subject_id"],
                condition=Q(state="pending"),
                name="approval_pending_once",
            ),
            models.CheckConstraint(condition=Q(needed__gte=1), name="approval_needs_somebody"),
        ]
        indexes = [
            # The dispatcher looks for these every second, however many have been decided.
            models.Index(fields=["deadline_at"], name="approval_deadlines", condition=Q(state="pending")),
            models.Index(fields=["project", "-id"], name="approval_recent"),
            models.Index(fields=["project", "state", "-id"], name="approval_by_state"),
            models.Index(fields=["project", "requester", "-id"], name="approval_by_requester"),
            models.Index(fields=["project", "created_at", "id"], name="approval_by_age"),
            models.Index(fields=["project", "deadline_at", "id"], name="approval_by_deadline"),
            models.Index(
                fields=["project", "decided_at", "id"], name="approval_by_end", condition=Q(decided_at__isnull=False)
            ),
            models.Index(fields=["subject_type", "subject_id", "-id"], name="approval_of_subject"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.title}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def is_own_of(self, actor: Actor) -> bool:
        """Whether this actor asked for it, at a browser or with any of their tokens."""
        if self.requester_user_id is not None:
            return self.requester_user_id == actor.user_id
        return self.requester_service_account_id == actor.service_account_id

    def is_requested_by(self, actor: Actor) -> bool:
        """Whether this actor counts as its requester: asked for it, or is one of the people behind the service account
        that did, from before the request or since; of this request or of the one that it follows."""
        if self.is_own_of(actor) or is_holder(actor.user_id, self.requester_service_account_id):
            return True
        return self.follows is not None and self.follows.is_requested_by(actor)


class FactName(models.Model):
    """An id or digest named in the facts of an approval, indexed for deletions. See fact_names.py."""

    approval = models.ForeignKey(Approval, models.CASCADE, related_name="names", db_index=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)  # the approval's
    key = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key", "approval"], name="fact_name_once")]

    def __str__(self) -> str:
        return self.key


class VoteQuerySet(models.QuerySet["Vote"]):
    def counting(self, project: Any) -> VoteQuerySet:
        """Votes for it of people who may still vote: who lost the role or the account, or is past its date, lost the
        vote with it. So did whoever was given a token of a service account that asked."""
        account, earlier = (
            ServiceAccountHolder.objects.filter(service_account=OuterRef(requester), user=OuterRef("user"))
            for requester in ("approval__requester_service_account", "approval__follows__requester_service_account")
        )
        return self.filter(
            ~Exists(account),
            ~Exists(earlier),
            Q(user__expires_at=None) | Q(user__expires_at__gt=Now()),
            decision=Decision.APPROVE,
            user__is_active=True,
            user__memberships__project=project,
            user__memberships__role=ProjectRole.APPROVER,
        )


class Vote(models.Model):
    """What one approver decided, on which facts and why. Never changed and never taken back."""

    approval = models.ForeignKey(
        Approval, models.CASCADE, related_name="votes", db_index=False
    )  # the constraint begins with it
    user = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    label = models.CharField(max_length=200)
    decision = models.CharField(max_length=10, choices=Decision.choices)
    reason = models.CharField(max_length=2000)
    facts_digest = models.CharField(max_length=64)
    method = models.CharField(max_length=20)  # how the person proved who it was: password, password+code, token
    at = models.DateTimeField(auto_now_add=True)

    objects = VoteQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["approval", "user"], name="vote_once")]


class Remark(models.Model):
    """A question of an approver who wants to know more before deciding, or the requester's answer. Never changed."""

    approval = models.ForeignKey(Approval, models.CASCADE, related_name="remarks", db_index=False)
    user = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", db_index=False)
    label = models.CharField(max_length=200)
    asks = models.BooleanField()  # else it answers
    text = models.CharField(max_length=2000)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["approval", "id"], name="approval_remarks")]


class Look(models.Model):
    """What one person was shown last of an approval, and what they had seen before that and have not let go of yet."""

    approval = models.ForeignKey(Approval, models.CASCADE, related_name="looks", db_index=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    digest = models.CharField(max_length=64)  # of `shown`
    shown = models.TextField()  # canonical JSON; see seen_state.py
    at = models.DateTimeField()
    before = models.TextField(blank=True)  # what they are told the difference to; "" once they have seen it
    before_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["approval", "user"], name="look_once")]
        indexes = [models.Index(fields=["user", "-id"], name="look_of_user")]


class ApprovalPolicy(models.Model):
    """What a project asks of the approvals of one subject type. Without a row: terms.DEFAULT."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="approval_policies", db_index=False)
    subject_type = models.CharField(max_length=40)
    needed = models.PositiveSmallIntegerField()
    deadline_hours = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "subject_type"], name="approval_policy_once"),
            models.CheckConstraint(
                condition=Q(needed__gte=1, needed__lte=10, deadline_hours__gte=1, deadline_hours__lte=720),
                name="approval_policy_range",
            ),
        ]
