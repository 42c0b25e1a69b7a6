"""Reads of foreign jobs, datasets and runs, and of received events, for pages and REST."""

from __future__ import annotations

from uuid import UUID

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.gateways.openlineage.models import ForeignEnd, ForeignRun, LineageEvent, LineageEventQuerySet
from apps.gateways.openlineage.naming import build_key
from apps.platform.accounts.models import Project

MAX_RUNS = 50


def list_events(
    actor: Actor, project: Project, *, run: str = "", namespace: str = "", name: str = ""
) -> LineageEventQuerySet:
    """The events that the project has received, to be paged by `-id`; Invalid for a run that is no UUID."""
    policy.require(actor, "lineage.view", project)
    events = LineageEvent.objects.visible_to(actor).filter(project=project)
    if run:
        try:
            events = events.filter(run_id=UUID(run[:64]))
        except ValueError:
            raise Invalid("{run!r} is not a run.", run=run[:64], field="run", limit="a UUID") from None
    if namespace or name:
        events = events.filter(job_key=build_key(namespace, name))
    return events


def get_end(actor: Actor, project: Project, type: str, key: str) -> ForeignEnd | None:
    """A foreign job or dataset; None where the project has none of this key."""
    policy.require(actor, "lineage.view", project)
    visible = ForeignEnd.objects.visible_to(actor).filter(project=project, type=type, key=key)
    return visible.first()


def list_foreign_runs(actor: Actor, end: ForeignEnd) -> list[ForeignRun]:
    """The newest runs of a foreign job."""
    policy.require(actor, "lineage.view", end)
    return list(ForeignRun.objects.filter(job=end).order_by("-id")[:MAX_RUNS])
