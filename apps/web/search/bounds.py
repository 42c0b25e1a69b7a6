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

MAX_ROWS_READ = 6000  # rows of a table, of all projects together
MAX_PROJECTS_READ = 20  # the first, in whose names one search reads
MAX_VERSIONS_READ = 20  # the newest of a model, whose tags are read
ATTRIBUTES_READ_DIVISOR = 3  # of so many runs that are read one, the newest, has all its params and tags read


@dataclass(frozen=True, slots=True)
class ProjectBounds:
    """The oldest row of a project that is read, of each table; None where there are fewer."""

    project: int
    slug: str
    job: datetime | None
    pipeline: datetime | None
    approval: datetime | None
    run: datetime | None
    attribute_run: datetime | None  # of runs, whose params and tags are read
    experiment: datetime | None
    logged_model: datetime | None
    model: datetime | None  # whose tags and aliases are read
    versioned: datetime | None  # whose versions' tags are read


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """Every project that is searched, key to slug, and those whose names are read. `project`: the only one."""

    slugs: Mapping[int, str]
    read: Sequence[ProjectBounds]
    project: int | None = None

    def filter_projects(self, path: str = "project") -> Q:
        """Of what the reader may see, the rows in these projects. `behind`: what leads to the project."""
        return Q() if self.project is None else Q(**{path: self.project})

    def get_slug(self, project: int) -> str:
        return self.slugs[project]

    @property
    def left_out(self) -> list[str]:
        """Slugs of the projects whose names are not read."""
        return list(self.slugs.values())[len(self.read) :]


def list_projects(actor: Actor, project: Project | None) -> QuerySet[Project]:
    """The one asked for, or those of the reader; an administrator without projects sees that all exist."""
    projects = Project.objects.visible_to(actor)
    return projects.filter(pk=project.pk) if project else projects


def load_bounds(actor: Actor, project: Project | None) -> SearchBounds:
    """One query, whatever the tables hold.

    By time and not by key: where nearly all rows are one project's, PostgreSQL would walk the whole primary key in
    search of another's.
    """
    projects = list_projects(actor, project).order_by("slug")
    rows_per_project = max(
        1, MAX_ROWS_READ // (1 if project else min(MAX_PROJECTS_READ, max(1, len(actor.project_ids))))
    )
    last_read = Coalesce(Subquery(projects.values("slug")[MAX_PROJECTS_READ - 1 : MAX_PROJECTS_READ]), F("slug"))

    def find_floor(table: Any, field: str, part: int = 1) -> Case:
        rows = table.objects.filter(project=OuterRef("pk")).order_by(f"-{field}", "-pk")
        last = max(1, rows_per_project // part)
        return Case(When(slug__lte=last_read, then=Subquery(rows.values(field)[last - 1 : last])))

    rows = projects.annotate(
        job_floor=find_floor(Job, "created_at"),
        pipeline_floor=find_floor(Pipeline, "created_at"),
        approval_floor=find_floor(Approval, "created_at"),
        run_floor=find_floor(Run, "started_at"),
        attribute_run_floor=find_floor(Run, "started_at", ATTRIBUTES_READ_DIVISOR),
        experiment_floor=find_floor(Experiment, "created_at"),
        logged_model_floor=find_floor(LoggedModel, "created_at"),
        model_floor=find_floor(Model, "touched_at"),
        versioned_floor=find_floor(Model, "touched_at", MAX_VERSIONS_READ),
    ).values_list("pk", "slug", *(f"{field.name}_floor" for field in fields(ProjectBounds)[2:]))
    bounds = [ProjectBounds(*row) for row in rows]
    slugs = {place.project: place.slug for place in bounds}
    return SearchBounds(slugs, bounds[:MAX_PROJECTS_READ], project.pk if project else None)


def build_floor_filter(bounds: SearchBounds, table: str, column: str = "created_at", *, path: str = "") -> Q:
    """The rows of `table` that are read: each project's from its floor on. `behind`: what leads to them (`model__`)."""
    condition = Q(pk__in=[])
    for place in bounds.read:
        floor = getattr(place, table)
        bound = {f"{path}project": place.project} | ({} if floor is None else {f"{path}{column}__gte": floor})
        condition |= Q(**bound)
    return condition
