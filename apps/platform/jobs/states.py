"""The states of a job and every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class JobState(models.TextChoices):
    WAITING = "waiting", _("Waiting")  # for a parent
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


S = JobState
MOVES: dict[str, frozenset[str]] = {
    S.WAITING: frozenset({S.QUEUED, S.FAILED, S.CANCELLED}),  # failed: a parent did
    S.QUEUED: frozenset({S.RUNNING, S.FAILED, S.CANCELLED}),  # failed: its requester's authority is gone
    S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED, S.QUEUED}),  # queued: released, or its lease ran out
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset({S.QUEUED, S.WAITING}),  # a person's retry; waiting: its parents are tried again too
    S.CANCELLED: frozenset({S.QUEUED, S.WAITING}),
}
ENDED: frozenset[str] = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})
