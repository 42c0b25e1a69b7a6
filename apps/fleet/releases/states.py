"""The states of release keys and of releases, with every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class KeyState(models.TextChoices):
    STANDBY = "standby", _("Standby")  # on the list, so that devices trust it; signs nothing yet
    ACTIVE = "active", _("Active")  # signs releases
    RETIRED = "retired", _("Retired")  # signs nothing any more; what it has signed counts
    REVOKED = "revoked", _("Revoked")  # nothing that it has signed counts


K = KeyState
TRUSTED = (K.STANDBY, K.ACTIVE, K.RETIRED)
KEY_MOVES: dict[str, frozenset[str]] = {
    K.STANDBY: frozenset({K.ACTIVE, K.REVOKED}),
    K.ACTIVE: frozenset({K.RETIRED, K.REVOKED}),
    K.RETIRED: frozenset({K.REVOKED}),
    K.REVOKED: frozenset(),
}


class ReleaseState(models.TextChoices):
    ISSUED = "issued", _("Issued")
    REVOKED = "revoked", _("Revoked")


R = ReleaseState
RELEASE_MOVES: dict[str, frozenset[str]] = {R.ISSUED: frozenset({R.REVOKED}), R.REVOKED: frozenset()}
