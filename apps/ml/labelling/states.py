"""The states of connections, labelling projects and tasks."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class ServerState(models.TextChoices):
    """What the last check of a connection found."""

    UNCHECKED = "unchecked", _("Not checked yet")
    HEALTHY = "healthy", _("Healthy")
    UNREACHABLE = "unreachable", _("Unreachable")
    REFUSED = "refused", _("Token refused")


class LabellingState(models.TextChoices):
    PREPARING = "preparing", _("Reading the source")
    IMPORTING = "importing", _("Importing tasks")
    LABELLING = "labelling", pgettext_lazy("labelling project", "Labelling")
    FAILED = "failed", _("Failed")  # its source cannot become tasks
    CLOSED = "closed", pgettext_lazy("labelling project", "Closed")


LABELLING_MOVES: dict[str, frozenset[str]] = {
    LabellingState.PREPARING: frozenset({LabellingState.IMPORTING, LabellingState.FAILED, LabellingState.CLOSED}),
    LabellingState.IMPORTING: frozenset({LabellingState.LABELLING, LabellingState.CLOSED}),
    LabellingState.LABELLING: frozenset({LabellingState.CLOSED}),
    LabellingState.FAILED: frozenset({LabellingState.CLOSED}),
    LabellingState.CLOSED: frozenset(),
}


NEXT_LEVELS = {"basic": "semantic", "semantic": "domain"}


class TaskState(models.TextChoices):
    """What is known of a task: derived from its annotations, or decided by a person."""

    OPEN = "open", pgettext_lazy("labelling task", "Open")
    AGREED = "agreed", _("Agreed")  # every group marked the same, or the one group that has it
    DISPUTED = "disputed", _("Disputed")
    RETURNED = "returned", _("Returned")  # an annotation violates a rule and was sent back
    ADJUDICATED = "adjudicated", _("Adjudicated")
    SKIPPED = "skipped", _("Skipped")  # by every group that has it


FINAL_STATES = (TaskState.AGREED, TaskState.ADJUDICATED)
"""Of these the marks are a result."""


class TaskOrder(models.TextChoices):
    SOURCE = "source", _("As in the source")
    UNCERTAINTY = "uncertainty", _("Least certain first")
