"""The states of bundles and of signers, and every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class OutgoingState(models.TextChoices):
    QUEUED = "queued", _("Queued")
    BUILT = "built", _("Built")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    REMOVED = "removed", _("Removed")


class IncomingState(models.TextChoices):
    RECEIVING = "receiving", _("Receiving")
    CHECKING = "checking", _("Checking")
    CHECKED = "checked", _("In quarantine, checked")
    REFUSED = "refused", _("Refused")
    APPROVED = "approved", _("Approved, loading")
    APPLIED = "applied", _("Applied")
    DISCARDED = "discarded", _("Discarded")


class SignerState(models.TextChoices):
    PROPOSED = "proposed", _("Proposed")
    TRUSTED = "trusted", _("Trusted")
    REVOKED = "revoked", _("Revoked")


O, I, S = OutgoingState, IncomingState, SignerState  # noqa: E741
OUTGOING_MOVES: dict[str, frozenset[str]] = {
    O.QUEUED: frozenset({O.BUILT, O.FAILED, O.CANCELLED}),
    O.FAILED: frozenset({O.QUEUED, O.REMOVED}),
    O.CANCELLED: frozenset({O.QUEUED, O.REMOVED}),
    O.BUILT: frozenset({O.REMOVED}),
    O.REMOVED: frozenset(),
}
INCOMING_MOVES: dict[str, frozenset[str]] = {
    I.RECEIVING: frozenset({I.CHECKING, I.DISCARDED}),
    I.CHECKING: frozenset({I.CHECKED, I.REFUSED, I.RECEIVING}),  # back: somebody cancelled the check
    I.REFUSED: frozenset({I.RECEIVING, I.DISCARDED}),  # a volume may come again, or a signature
    I.CHECKED: frozenset({I.CHECKING, I.APPROVED, I.DISCARDED}),
    I.APPROVED: frozenset({I.APPLIED, I.CHECKED}),  # back: cancelled, or what was approved is not what stands
    I.APPLIED: frozenset(),
    I.DISCARDED: frozenset(),
}
SIGNER_MOVES: dict[str, frozenset[str]] = {
    S.PROPOSED: frozenset({S.TRUSTED, S.REVOKED}),
    S.TRUSTED: frozenset({S.REVOKED}),
    S.REVOKED: frozenset(),
}
