"""Schedules: what is submitted again by a cron expression, and what became of each time."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.accounts.models import ONE_LINE, Project
from apps.platform.calendars.states import SCHEDULE_MOVES, CatchUp, Outcome, Overlap, ScheduleState


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def visible_to(self, actor: Actor) -> ScheduleQuerySet:
        if actor.plane_role:
            return self
        of_projects = models.Q(project_id__in=actor.project_ids)
        return self.filter(
            of_projects | models.Q(project=None) if is_allowed(actor, "schedule.view_plane") else of_projects
        )


class Schedule(models.Model):
    """A request that is submitted by its creator's rights at every time of a cron expression."""

    MOVES = SCHEDULE_MOVES

    project = models.ForeignKey(
        Project, models.PROTECT, related_name="schedules", db_index=False, null=True
    )  # null: of the plane as a whole; the index is the constraint's
    name = models.CharField(max_length=60, validators=[ONE_LINE])
    target = models.CharField(max_length=40)  # a key of SCHEDULE_TARGETS
    request = models.JSONField()  # the body that is submitted, as a client would send it
    cron = models.CharField(max_length=120)
    timezone = models.CharField(max_length=60)  # an IANA name, in which `cron` is read
    overlap = models.CharField(max_length=10, choices=Overlap.choices, default=Overlap.SKIP)
    catch_up = models.CharField(max_length=10, choices=CatchUp.choices, default=CatchUp.LAST)
    state = models.CharField(max_length=10, choices=ScheduleState.choices, default=ScheduleState.ACTIVE)
    grant = models.JSONField()  # who created it, as an actor record with scopes: the rights it submits with
    next_at = models.DateTimeField(null=True)  # null while it is paused, and when no further time comes
    failures = models.PositiveIntegerField(default=0)  # submissions that were refused since the last that was not
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="schedule_name"),
            models.UniqueConstraint(fields=["name"], name="plane_schedule_name", condition=models.Q(project=None)),
        ]
        indexes = [
            # The dispatcher looks for these every second.
            models.Index(fields=["next_at"], name="schedule_due", condition=models.Q(state="active")),
            models.Index(fields=["project", "next_at", "id"], name="schedule_of_project"),
        ]

    def __str__(self) -> str:
        return self.name


class Occurrence(models.Model):
    """One time of a schedule, or several that were missed in a row, and what became of it."""

    schedule = models.ForeignKey(Schedule, models.CASCADE, related_name="occurrences", db_index=False)
    due_at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    count = models.PositiveIntegerField(default=1)  # of missed ones: how many from `due_at` on
    subject_id = models.CharField(max_length=80, blank=True)  # of what was submitted; its type is the target's
    reason = models.JSONField(default=dict)  # why it was not submitted: Message.as_fields()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["schedule", "due_at", "outcome"], name="occurrence_once")]
        indexes = [models.Index(fields=["schedule", "-id"], name="occurrence_recent")]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due_at:%Y-%m-%d %H:%M} {self.outcome}"
