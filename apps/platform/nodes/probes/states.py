"""What becomes of the probe of one node."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ProbeState(models.TextChoices):
    REQUESTED = "requested", _("Requested")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")


PROBE_MOVES: dict[str, frozenset[str]] = {
    ProbeState.REQUESTED: frozenset({ProbeState.RUNNING, ProbeState.FAILED}),
    ProbeState.RUNNING: frozenset({ProbeState.SUCCEEDED, ProbeState.FAILED}),
    ProbeState.SUCCEEDED: frozenset(),
    ProbeState.FAILED: frozenset(),
}
ACTIVE_PROBES = (ProbeState.REQUESTED, ProbeState.RUNNING)
