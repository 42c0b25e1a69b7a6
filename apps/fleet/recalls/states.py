"""The states of a recall with every legal move, what it acts on, and what became of each of these."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class RecallState(models.TextChoices):
    ACTING = "acting", _("Acting")  # the plane has steps left
    WATCHING = "watching", _("Waiting for devices")  # everything is done that the plane can do
    COMPLETED = "completed", _("Completed")  # no active device carries it


R = RecallState
ONGOING = (R.ACTING, R.WATCHING)
RECALL_MOVES: dict[str, frozenset[str]] = {
    R.ACTING: frozenset({R.WATCHING, R.COMPLETED}),
    R.WATCHING: frozenset({R.ACTING, R.COMPLETED}),
    R.COMPLETED: frozenset(),
}


class ItemKind(models.TextChoices):
    MODEL_VERSION = "model_version", _("Model version")
    RELEASE = "release", pgettext_lazy("signed", "Release")
    ROLLOUT = "rollout", _("Rollout")
    ALIAS = "alias", _("Alias")
    ENDPOINT = "endpoint", _("Endpoint")
    SHADOW = "shadow", _("Shadow of an endpoint")


class ItemOutcome(models.TextChoices):
    PENDING = "pending", _("Pending")
    BLOCKED = "blocked", _("Blocked")
    REVOKED = "revoked", _("Revoked")
    ROLLED_BACK = "rolled_back", _("Rolled back")  # it points to, or serves, a version that is not blocked
    SUSPENDED = "suspended", _("Suspended")  # there was nothing to roll back to
    NOTHING_BEFORE = "nothing_before", _("Nothing to roll back to")
    STOPPED = "stopped", _("Stopped")
    REMOVED = "removed", _("Removed")  # by somebody else


class DeviceOutcome(models.TextChoices):
    PENDING = "pending", _("Pending")
    RETURNING = "returning", _("Rolling back")  # a release is assigned that is not recalled
    STOPPING = "stopping", _("Stopping")  # it was to install it, and is told not to
    CLEAR = "clear", _("Clear")  # its receipt names a release that is not recalled
    NO_PREVIOUS = "no_previous", _("No previous release")  # it runs it, and has nothing to go back to
    QUARANTINED = "quarantined", _("Quarantined")  # it runs it, and gets nothing more
    FAILED = "failed", _("Failed")  # it did not install what it was to go back to
    REVOKED = "revoked", _("Revoked")  # it runs it, and its token opens nothing


D = DeviceOutcome
STILL_CARRYING = (D.PENDING, D.RETURNING, D.STOPPING, D.NO_PREVIOUS, D.QUARANTINED, D.FAILED, D.REVOKED)
