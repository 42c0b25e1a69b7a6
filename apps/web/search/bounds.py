"""Where a search looks, so that it does not grow slower with the tables.

A part of a name is found by reading names. Of what jobs and clients make by themselves (jobs, pipelines, runs,
approvals, experiments, logged models) only the newest rows of each project are read, and one query finds where they
begin; numbers, ids and digests are looked up by an index and have no such bound. Of what was said of them (params,
tags, aliases) likewise: what each of the newest runs, models and versions has is looked up by its key.

Parts of names and what was said are looked for in the first projects only; numbers, ids, digests, versions and whole
names that an index holds (of runs, experiments, datasets, models) in every project that the reader may see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce

from apps.core.actors import Actor
from apps.ml.experiments.models import Experiment, LoggedModel, Run
from apps.ml.pipelines.models import Pipeline
from apps.ml.registry.models import Model
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.jobs.models import Job

READ = 6000  # rows of a table, of all projects together
PROJECTS = 20  # the first, in whose names one search reads
VERSIONS = 20  # the newest of a model, whose tags are read
READ_SAID = 3  # of so many runs that are read one, the newest, has all its params and tags read


@dataclass(frozen=True, slots=True)
class Floors:
    """The oldest row of a project that is read, of each table; None where there are fewer."""

    project: int
    slug: str
    job: datetime | None
    pipeline: datetime | None
    approval: datetime | None
    run: datetime | None
    said: datetime | None  # of runs, whose params and tags are read
    experiment: datetime | None
    logged_model: datetime | None
    model: datetime | None  # whose tags and aliases are read
    versioned: datetime | None  # whose versions' tags are read


@dataclass(frozen=True, slots=True)
class Places:
    """Every project that is searched, key to slug, and those whose names are read. `project`: the only one."""

    slugs: Mapping[int, str]
    read: Sequence[Floors]
    project: int | None = None

    def here(self, behind: str = "project") -> Q:
        """Of what the reader may see, the rows in these projects. `behind`: what leads to the project."""
        return Q() if self.project is None else Q(**{behind: self.project})

    def slug_of(self, project: int) -> str:
        return self.slugs[project]

    @property
    def left_out(self) -> list[str]:
        """Slugs of the projects whose names are not read."""
        return list(self.slugs.values())[len(self.read) :]


def projects_of(actor: Actor, project: Project | None) -> QuerySet[Project]:
    """The one asked for, or those of the reader; an administrator without projects sees that all exist."""
    seen = Project.objects.visible_to(actor)
    return seen.filter(pk=project.pk) if project else seen


def places_of(actor: Actor, project: Project | None) -> Places:
    """One query, whatever the tables hold.

    By time and not by key: where nearly all rows are one project's, PostgreSQL would walk the whole primary key in
    search of another's.
    """
    seen = projects_of(actor, project).order_by("slug")
    each = max(1, READ // (1 if project else min(PROJECTS, max(1, len(actor.project_ids)))))
    last_read = Coalesce(Subquery(seen.values("slug")[PROJECTS - 1 : PROJECTS]), F("slug"))

    def newest(table: Any, field: str, part: int = 1) -> Case:
        rows = table.objects.filter(project=OuterRef("pk")).order_by(f"-{field}", "-pk")
        last = max(1, each // part)
        return Case(When(slug__lte=last_read, then=Subquery(rows.values(field)[last - 1 : last])))

    rows = seen.annotate(
        job_floor=newest(Job, "created_at"),
        pipeline_floor=newest(Pipeline, "created_at"),
        approval_floor=newest(Approval, "created_at"),
        run_floor=newest(Run, "started_at"),
        said_floor=newest(Run, "started_at", READ_SAID),
        experiment_floor=newest(Experiment, "created_at"),
        logged_model_floor=newest(LoggedModel, "created_at"),
        model_floor=newest(Model, "touched_at"),
        versioned_floor=newest(Model, "touched_at", VERSIONS),
    ).values_list("pk", "slug", *(f"{field.name}_floor" for field in fields(Floors)[2:]))
    found = [Floors(*row) for row in rows]
    slugs = {place.project: place.slug for place in found}
    return Places(slugs, found[:PROJECTS], project.pk if project else None)


def above(places: Places, table: str, column: str = "created_at", *, behind: str = "") -> Q:
    """The rows of `table` that are read: each project's from its floor on. `behind`: what leads to them (`model__`)."""
    wanted = Q(pk__in=[])
    for place in places.read:
        floor = getattr(place, table)
        bound = {f"{behind}project": place.project} | ({} if floor is None else {f"{behind}{column}__gte": floor})
        wanted |= Q(**bound)
    return wanted
