"""Emergency grants, rights that two people lend to one for some hours, and the keys for when nobody can log in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.platform.accounts.models import Project, User
from apps.platform.emergency.states import EXPIRED, MOVES, GrantState

PROJECT_ROLES = tuple(role.value for role in ProjectRole)
PLANE_ROLES = (SystemRole.SYSTEM_ADMIN.value, SystemRole.SECURITY_ADMIN.value)  # never the auditor's
REQUEST_LIFETIME = timedelta(hours=24)  # a request that nobody has confirmed is void after it


def build_overdue_filter() -> Q:
    now = timezone.now()
    return Q(state=GrantState.ACTIVE, expires_at__lte=now) | Q(
        state=GrantState.REQUESTED, requested_at__lte=now - REQUEST_LIFETIME
    )


class EmergencyGrantQuerySet(models.QuerySet["EmergencyGrant"]):
    def visible_to(self, actor: Actor) -> EmergencyGrantQuerySet:
        """Administrators see all of them; members their own, those of the plane and of their projects."""
        if actor.plane_role or (actor.system_role and actor.scopes is None):
            return self
        if actor.scopes is not None or actor.user_id is None:
            return self.none()
        return self.filter(Q(user_id=actor.user_id) | Q(project=None) | Q(project_id__in=actor.project_ids))

    def in_force(self) -> EmergencyGrantQuerySet:
        return self.filter(state=GrantState.ACTIVE, expires_at__gt=timezone.now())

    def with_status(self, status: str) -> EmergencyGrantQuerySet:
        """Those whose `status` is this one."""
        if status == EXPIRED:
            return self.filter(build_overdue_filter() | Q(state=GrantState.EXPIRED))
        return self.filter(state=status).exclude(build_overdue_filter())

    def overdue(self) -> EmergencyGrantQuerySet:
        """Open ones whose time is over."""
        return self.filter(build_overdue_filter())


class EmergencyGrant(models.Model):
    """One role for one person for some hours, in a project or (`project` None) on the plane."""

    MOVES: ClassVar[Mapping[str, frozenset[str]]] = MOVES

    user = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="+")
    role = models.CharField(max_length=20)
    reason = models.CharField(max_length=2000)
    hours = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=GrantState.choices, default=GrantState.REQUESTED)
    by_keys = models.BooleanField(default=False)  # by the command and two printed keys, not by two people who log in
    requested_at = models.DateTimeField(default=timezone.now)
    confirmed_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", db_index=False)
    confirmed_label = models.CharField(max_length=200, blank=True)
    confirmed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    ended_label = models.CharField(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=2000, blank=True)

    objects = EmergencyGrantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(project=None, role__in=PLANE_ROLES) | Q(project__isnull=False, role__in=PROJECT_ROLES),
                name="emergency_role_in_scope",  # the auditor's is in neither
            ),
            models.CheckConstraint(
                condition=Q(confirmed_by=None) | ~Q(confirmed_by=F("user")), name="emergency_by_two_people"
            ),
            models.CheckConstraint(
                condition=~Q(state=GrantState.ACTIVE)
                | Q(by_keys=True, expires_at__isnull=False)
                | Q(confirmed_by__isnull=False, expires_at__isnull=False),
                name="emergency_active_confirmed",
            ),
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(state__in=(GrantState.REQUESTED, GrantState.ACTIVE)),
                name="emergency_one_open",
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], name="emergency_active", condition=Q(state=GrantState.ACTIVE))]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"

    @property
    def status(self) -> str:
        """The state, or `expired` where its time is over."""
        now = timezone.now()
        if self.state == GrantState.ACTIVE and self.expires_at is not None and self.expires_at <= now:
            return EXPIRED
        if self.state == GrantState.REQUESTED and self.requested_at <= now - REQUEST_LIFETIME:
            return EXPIRED
        return self.state


class EmergencyKey(models.Model):
    """One of two printed keys. Spent once; a new one of the same slot makes the former void."""

    slot = models.PositiveSmallIntegerField()
    digest = models.CharField(max_length=64)  # SHA-256: 160 random bits need no salt
    created_at = models.DateTimeField(auto_now_add=True)
    spent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(slot__in=(1, 2)), name="emergency_key_slot"),
            models.UniqueConstraint(fields=["slot"], condition=Q(spent_at=None), name="emergency_key_current"),
        ]

    def __str__(self) -> str:
        return f"key {self.slot}"
