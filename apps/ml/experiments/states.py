"""The states of a run and of a logged model, which are MLflow's, and every legal move between them."""

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
    S.SCHEDULED: frozenset({S.RUNNING, S.FINISHED, S.FAILED, S.KILLED}),
    S.RUNNING: frozenset({S.SCHEDULED, S.FINISHED, S.FAILED, S.KILLED}),
    # Only a run that a client keeps goes on after it has finished (`mlflow.start_run(run_id=...)`): a job runs once.
    S.FINISHED: frozenset({S.SCHEDULED, S.RUNNING, S.FAILED, S.KILLED}),
    S.FAILED: frozenset({S.SCHEDULED, S.RUNNING, S.FINISHED, S.KILLED}),  # or a person has its job tried again
    S.KILLED: frozenset({S.SCHEDULED, S.RUNNING, S.FINISHED, S.FAILED}),
}
ENDED: frozenset[str] = frozenset({S.FINISHED, S.FAILED, S.KILLED})


class LoggedModelState(models.TextChoices):
    UNSPECIFIED = "unspecified", _("Not reported")
    PENDING = "pending", _("Files are sent")
    READY = "ready", _("Ready")
    UPLOAD_FAILED = "upload_failed", _("Its files did not arrive")


L = LoggedModelState
MODEL_MOVES: dict[str, frozenset[str]] = {
    state: frozenset(other for other in LoggedModelState if other != state) for state in LoggedModelState
}
# The files of such a model have come, or will not: what is changed afterwards is on the record.
DECLARED: frozenset[str] = frozenset({L.READY, L.UPLOAD_FAILED})
