"""The states of a run, which are MLflow's, and every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RunState(models.TextChoices):
    SCHEDULED = "scheduled", _("Scheduled")
    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")
    FAILED = "failed", _("Failed")
    KILLED = "killed", _("Killed")


S = RunState
MOVES: dict[str, frozenset[str]] = {
    S.SCHEDULED: frozenset({S.RUNNING, S.FAILED, S.KILLED}),
    S.RUNNING: frozenset({S.FINISHED, S.FAILED, S.KILLED}),
    S.FINISHED: frozenset(),
    S.FAILED: frozenset({S.RUNNING}),  # a person has its job tried again: the same run goes on
    S.KILLED: frozenset({S.RUNNING}),
}
ENDED: frozenset[str] = frozenset({S.FINISHED, S.FAILED, S.KILLED})
