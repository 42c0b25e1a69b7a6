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


class MemberState(models.TextChoices):
    """Of one node's part in an attempt over several nodes."""

    INVITED = "invited", _("Invited")  # its node's capacity is set aside; no worker has answered yet
    JOINED = "joined", _("Preparing")  # checks its node, copies the inputs
    RUNNING = "running", _("Running")  # can be reached; its engine starts as soon as all members are here
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    RELEASED = "released", _("Released")  # its worker was stopped
    MISSING = "missing", _("Missing")  # no worker answered in time
    ENDED = "ended", _("Ended")  # the attempt ended elsewhere


M = MemberState
MEMBER_MOVES: dict[str, frozenset[str]] = {
    M.INVITED: frozenset({M.JOINED, M.MISSING, M.ENDED}),
    M.JOINED: frozenset({M.RUNNING, M.FAILED, M.RELEASED, M.ENDED}),
    M.RUNNING: frozenset({M.SUCCEEDED, M.FAILED, M.RELEASED, M.ENDED}),
    M.SUCCEEDED: frozenset(),
    M.FAILED: frozenset(),
    M.RELEASED: frozenset(),
    M.MISSING: frozenset(),
    M.ENDED: frozenset(),
}
OPEN_MEMBERS = (M.INVITED, M.JOINED, M.RUNNING)
