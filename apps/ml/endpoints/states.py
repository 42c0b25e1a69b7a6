"""The states of an endpoint and of its replicas, with every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class EndpointState(models.TextChoices):
    STARTING = "starting", _("Starting")  # no replica has answered yet
    SERVING = "serving", _("Serving")
    DEGRADED = "degraded", _("Degraded")  # a replica is missing, or a version was refused
    SUSPENDED = "suspended", _("Suspended")
    DELETED = "deleted", _("Deleted")


E = EndpointState
ACTIVE = (E.STARTING, E.SERVING, E.DEGRADED)
ENDPOINT_MOVES: dict[str, frozenset[str]] = {
    E.STARTING: frozenset({E.SERVING, E.DEGRADED, E.SUSPENDED, E.DELETED}),
    E.SERVING: frozenset({E.DEGRADED, E.SUSPENDED, E.DELETED}),
    E.DEGRADED: frozenset({E.SERVING, E.SUSPENDED, E.DELETED}),
    E.SUSPENDED: frozenset({E.STARTING, E.DELETED}),
    E.DELETED: frozenset(),
}


class ReplicaState(models.TextChoices):
    STOPPED = "stopped", _("Stopped")
    STARTING = "starting", _("Starting")
    SERVING = "serving", _("Serving")
    FAILED = "failed", _("Failed")  # it does not come up; its node tries again


R = ReplicaState
REPLICA_MOVES: dict[str, frozenset[str]] = {
    R.STOPPED: frozenset({R.STARTING, R.SERVING, R.FAILED}),
    R.STARTING: frozenset({R.STOPPED, R.SERVING, R.FAILED}),
    R.SERVING: frozenset({R.STOPPED, R.STARTING, R.FAILED}),
    R.FAILED: frozenset({R.STOPPED, R.STARTING, R.SERVING}),
}
