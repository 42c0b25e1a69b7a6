"""Reads of reruns shared by pages and REST."""

from __future__ import annotations

from django.db.models import Case, Q, When

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.ml.experiments.models import Run
from apps.ml.reruns.models import Rerun, RerunQuerySet
from apps.platform.accounts.models import Project


def get_rerun(actor: Actor, project: Project, pk: int) -> Rerun:
    """The rerun with its original, its job and the job's run; NotFound if there is none or `actor` may not see it."""
    policy.require(actor, "run.view", project)
    visible = Rerun.objects.visible_to(actor).filter(project=project)
    rerun = visible.select_related("project", "original", "job__run").filter(pk=pk).first()
    if rerun is None:
        raise NotFound("This project has no rerun {pk}.", pk=pk, field="id")
    return rerun


def list_reruns(actor: Actor, run: Run) -> RerunQuerySet:
    """The reruns of a run, to be paged by `-id`."""
    policy.require(actor, "run.view", run)
    return Rerun.objects.visible_to(actor).filter(original=run).select_related("original", "job__run").order_by("-id")


def find_rerun_of_run(actor: Actor, run: Run) -> Rerun | None:
    """The rerun whose job made this run; None for a run that was not made again from another's record."""
    policy.require(actor, "run.view", run)
    if run.job_id is None:
        return None
    visible = Rerun.objects.visible_to(actor).select_related("original", "job__run")
    return visible.filter(job=run.job_id).first()


def list_related_reruns(actor: Actor, run: Run, limit: int) -> tuple[Rerun | None, list[Rerun]]:
    """(the rerun that this run is, the newest `limit` made of it); one query for what the two above answer."""
    policy.require(actor, "run.view", run)
    if run.job_id is None:
        return None, list(list_reruns(actor, run)[:limit])
    related = Rerun.objects.visible_to(actor).filter(Q(original=run) | Q(job=run.job_id))
    own_first = Case(When(job=run.job_id, then=0), default=1)
    rows = list(related.select_related("original", "job__run").order_by(own_first, "-id")[: limit + 1])
    own = rows.pop(0) if rows and rows[0].job_id == run.job_id else None
    return own, rows[:limit]


def get_rerun_run(rerun: Rerun) -> Run | None:
    """The run that the job keeps; None before its first attempt."""
    return getattr(rerun.job, "run", None)
