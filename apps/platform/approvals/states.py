"""The states of an approval and every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ApprovalState(models.TextChoices):
    PENDING = "pending", _("Pending")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")
    WITHDRAWN = "withdrawn", _("Withdrawn")  # by its requester
    EXPIRED = "expired", _("Expired")  # nobody, or too few, decided before the deadline
    VOID = "void", _("Void")  # what was asked for is no longer what stands


class Decision(models.TextChoices):
    APPROVE = "approve", _("Approved")
    REJECT = "reject", _("Rejected")


S = ApprovalState
ENDED: frozenset[str] = frozenset({S.APPROVED, S.REJECTED, S.WITHDRAWN, S.EXPIRED, S.VOID})
MOVES: dict[str, frozenset[str]] = {S.PENDING: ENDED, **{state: frozenset() for state in ENDED}}
