"""The states of a retraining, and the words of its plan."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class RetrainingState(models.TextChoices):
    QUEUED = "queued", _("Waiting for data")
    COLLECTING = "collecting", _("Making data")
    TRAINING = "training", pgettext_lazy("retraining", "Training")
    EVALUATING = "evaluating", _("Evaluating")
    REQUESTING = "requesting", _("Requesting approval")
    AWAITING_APPROVAL = "awaiting_approval", _("Awaiting approval")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Not approved")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    REFUSED = "refused", pgettext_lazy("retraining", "Not started")  # by the budget


R = RetrainingState
DRIVEN = (R.QUEUED, R.COLLECTING, R.TRAINING, R.EVALUATING, R.REQUESTING, R.AWAITING_APPROVAL)
"""The dispatcher takes these further; of each model there is one at most."""
CANCELLABLE = (R.QUEUED, R.COLLECTING, R.TRAINING, R.EVALUATING)
RETRAINING_MOVES: dict[str, frozenset[str]] = {
    R.QUEUED: frozenset({R.COLLECTING, R.TRAINING, R.FAILED, R.CANCELLED}),
    R.COLLECTING: frozenset({R.TRAINING, R.FAILED, R.CANCELLED}),
    R.TRAINING: frozenset({R.EVALUATING, R.FAILED, R.CANCELLED}),
    R.EVALUATING: frozenset({R.REQUESTING, R.FAILED, R.CANCELLED}),
    R.REQUESTING: frozenset({R.AWAITING_APPROVAL, R.FAILED}),
    R.AWAITING_APPROVAL: frozenset({R.APPROVED, R.REJECTED, R.FAILED}),
    R.APPROVED: frozenset(),
    R.REJECTED: frozenset(),
    R.FAILED: frozenset(),
    R.CANCELLED: frozenset(),
    R.REFUSED: frozenset({R.QUEUED}),  # a person begins it after all
}


class DataMode(models.TextChoices):
    """What becomes of the rows that the model was trained on."""

    APPEND = "append", _("Former rows and new ones")
    REPLACE = "replace", _("New rows alone")
