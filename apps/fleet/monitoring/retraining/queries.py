"""What pages and REST read of retrainings."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.fleet.monitoring.models import Alarm, Monitor, Retraining
from apps.fleet.monitoring.retraining.models import RetrainingQuerySet
from apps.platform.accounts.models import Project

MAX_ID = 2**63 - 1


def list_retrainings(actor: Actor, project: Project, *, monitor: Monitor | None = None) -> RetrainingQuerySet:
    """Those of the project, or of one monitor, to be paged by `-id`."""
    policy.require(actor, "monitor.view", project)
    rows = Retraining.objects.visible_to(actor).filter(project=project)
    rows = rows if monitor is None else rows.filter(monitor=monitor)
    return rows.select_related(
        "project", "former", "version__model", "data__dataset", "fresh_set", "approval", "monitor"
    )


def get_retraining(actor: Actor, project: Project, pk: int) -> Retraining:
    retraining = list_retrainings(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if retraining is None:
        raise NotFound("This project has no retraining {pk}.", pk=pk, field="id")
    return retraining


def find_alarm_retraining(actor: Actor, alarm: Alarm) -> Retraining | None:
    """What the alarm began, or had begun but for the budget."""
    return list_retrainings(actor, alarm.project).filter(alarm=alarm).first()
