"""What pages and REST read of pipelines: lists, how far each is, the steps of one and what they wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Count, Exists, Max, Min, OuterRef, Q

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.ml.pipelines.checks import find_descendants, find_needed_steps
from apps.ml.pipelines.models import Pipeline, PipelineQuerySet, PipelineStep
from apps.ml.pipelines.states import MOVING, PipelineState
from apps.platform.accounts.models import Project
from apps.platform.jobs.errors import PARENT_FAILED
from apps.platform.jobs.models import Job, JobInput, JobOutput, JobParent
from apps.platform.jobs.queries import MAX_ID
from apps.platform.jobs.states import JobState

FILTERS = ("state", "template", "requester", "name")
MAX_EXTERNAL_JOBS = 12  # jobs of no step of the pipeline that its steps take from
MAX_SOURCES = 50
MAX_RERUNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSummary:
    """How far a pipeline is: its steps counted by the states of their jobs."""

    total: int
    waiting: int
    queued: int
    running: int
    succeeded: int
    failed: int  # by themselves
    followed: int  # failed because a parent did
    cancelled: int
    cancelling: int  # running, and asked to stop
    started_at: datetime | None  # the first claim
    ended_at: datetime | None  # the last end so far

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> PipelineSummary:
        """What `summaries` counts in the database, of jobs that are here already."""
        rows = list(jobs)
        counts = Counter(job.state for job in rows)
        by_parent = sum(is_failed_by_parent(job) for job in rows)
        return cls(
            total=len(rows),
            waiting=counts[JobState.WAITING],
            queued=counts[JobState.QUEUED],
            running=counts[JobState.RUNNING],
            succeeded=counts[JobState.SUCCEEDED],
            failed=counts[JobState.FAILED] - by_parent,
            followed=by_parent,
            cancelled=counts[JobState.CANCELLED],
            cancelling=sum(job.state == JobState.RUNNING and job.cancel_requested_at is not None for job in rows),
            started_at=min((job.claimed_at for job in rows if job.claimed_at), default=None),
            ended_at=max((job.ended_at for job in rows if job.ended_at), default=None),
        )

    @property
    def moving(self) -> int:
        return self.waiting + self.queued + self.running

    @property
    def state(self) -> PipelineState:
        """What failed only because its parent was cancelled counts as cancelled with it."""
        if self.moving:
            return PipelineState.RUNNING
        if self.failed or (self.followed and not self.cancelled):
            return PipelineState.FAILED
        return PipelineState.CANCELLED if self.cancelled else PipelineState.SUCCEEDED

    @property
    def took(self) -> timedelta | None:
        """From the first claim to the last end; None as long as it moves, or if nothing ever ran."""
        if self.moving or self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at


def is_failed_by_parent(job: Job) -> bool:
    """Whether it failed only because a job did that it needs."""
    return job.state == JobState.FAILED and (job.error or {}).get("code") == PARENT_FAILED


# -- lists ----------------------------------------------------------------------------------------------------------
def list_pipelines(
    actor: Actor, project: Project, *, state: str = "", template: str = "", requester: str = "", name: str = ""
) -> PipelineQuerySet:
    """The pipelines of a project that match every filter given, to be ordered by `-id` and paged.

    Raises Invalid for a state that does not exist: an empty list would look like an answer.
    """
    policy.require(actor, "pipeline.view", project)
    validate_choice("state", state, PipelineState.values)
    pipelines = Pipeline.objects.visible_to(actor).filter(project=project).defer("document")
    if state:
        pipelines = pipelines.filter(build_state_condition(project, state))
    for lookup, value in (("template", template), ("requester", requester), ("name__icontains", name)):
        if value:
            pipelines = pipelines.filter(**{lookup: value.replace("\x00", "")})
    return pipelines.order_by("-id")


def build_state_condition(project: Project, state: str) -> Q:
    """The condition that `Summary.state` is `state`, for the database."""
    if state == PipelineState.RUNNING:  # from the few jobs that move, not from all the pipelines there ever were
        moving = PipelineStep.objects.filter(job__project=project, job__state__in=MOVING)
        return Q(pk__in=moving.values("pipeline"))
    failed = Q(job__state=JobState.FAILED)
    by_parent = failed & Q(job__error__code=PARENT_FAILED)
    ended = ~has_step(Q(job__state__in=MOVING))
    cancelled = has_step(Q(job__state=JobState.CANCELLED))
    in_failed = has_step(failed, but=by_parent) | (has_step(by_parent) & ~cancelled)
    match state:
        case PipelineState.FAILED:
            return ended & in_failed
        case PipelineState.CANCELLED:
            return ended & cancelled & ~in_failed
    return ~has_step(~Q(job__state=JobState.SUCCEEDED))


def has_step(condition: Q, *, but: Q | None = None) -> Q:
    """That a step of the pipeline meets the condition."""
    steps = PipelineStep.objects.filter(condition, pipeline=OuterRef("pk"))
    return Q(Exists(steps.exclude(but) if but is not None else steps))


def count_steps_by_state(ids: Iterable[int]) -> dict[int, PipelineSummary]:
    """{id: how far it is} of these pipelines; one query, however many."""
    failed = Q(job__state=JobState.FAILED)
    by_parent = failed & Q(job__error__code=PARENT_FAILED)
    counted = {state: Count("pk", filter=Q(job__state=state)) for state in JobState.values}
    rows = (
        PipelineStep.objects.filter(pipeline__in=list(ids))
        .order_by()
        .values("pipeline")
        .annotate(
            **counted,
            total=Count("pk"),
            followed=Count("pk", filter=by_parent),
            cancelling=Count("pk", filter=Q(job__state=JobState.RUNNING, job__cancel_requested_at__isnull=False)),
            started_at=Min("job__claimed_at"),
            ended_at=Max("job__ended_at"),
        )
    )
    summary_by_id: dict[int, PipelineSummary] = {}
    for row in rows:
        counts: dict[str, Any] = dict(row)
        pk = counts.pop("pipeline")
        summary_by_id[pk] = PipelineSummary(**{**counts, "failed": counts["failed"] - counts["followed"]})
    return summary_by_id


# -- one ------------------------------------------------------------------------------------------------------------
def get_pipeline(actor: Actor, project: Project, pk: int) -> Pipeline:
    """The pipeline `pk` of this project; NotFound if there is none or `actor` may not see it."""
    policy.require(actor, "pipeline.view", project)
    visible = Pipeline.objects.visible_to(actor).filter(project=project).select_related("project")
    pipeline = visible.filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if pipeline is None:
        raise NotFound("This project has no pipeline {pk}.", pk=pk, field="id")
    return pipeline


@dataclass(frozen=True, slots=True)
class ExternalJob:
    """A job of another pipeline, or of none, whose outputs go into this one."""

    pk: int
    kind: str
    state: str
    feeds: list[str]  # steps


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """One pipeline with its steps and what each waits for."""

    pipeline: Pipeline
    summary: PipelineSummary
    steps: list[PipelineStep]  # parents before children; `job` with its node and outputs
    parents: dict[str, list[str]]  # step -> the steps that it waits for
    outside: dict[int, ExternalJob]

    @property
    def job_ids(self) -> list[int]:
        return [step.job_id for step in self.steps]


def load_pipeline(pipeline: Pipeline) -> LoadedPipeline:
    """Everything of one pipeline that the caller may see. Three queries, however many steps."""
    rows = (
        PipelineStep.objects.filter(pipeline=pipeline)
        .select_related("job__node")
        .defer("job__spec", "job__grant")
        .order_by("position")
    )
    outputs = models.Prefetch("job__outputs", JobOutput.objects.order_by("pk").only("job", "slot", "artifact"))
    steps = list(rows.prefetch_related(outputs))
    names = {step.job_id: step.name for step in steps}
    parents: dict[str, list[str]] = {step.name: [] for step in steps}
    outside: dict[int, ExternalJob] = {}
    links = JobParent.objects.filter(child__in=list(names)).order_by("child", "parent")
    for parent, child, kind, state in links.values_list("parent", "child", "parent__kind", "parent__state"):
        if parent in names:
            parents[names[child]].append(names[parent])
        else:
            outside.setdefault(parent, ExternalJob(parent, kind, state, [])).feeds.append(names[child])
    return LoadedPipeline(pipeline, PipelineSummary.of(step.job for step in steps), steps, parents, outside)


def find_sources(loaded: LoadedPipeline) -> dict[str, str]:
    """{digest: step} of the artifacts that went in and that no job made, the first of them."""
    names = {step.job_id: step.name for step in loaded.steps}
    inputs = JobInput.objects.filter(job__in=loaded.job_ids, source_job__isnull=True, artifact__isnull=False)
    rows = inputs.order_by("pk").values_list("artifact", "job")[:MAX_SOURCES]
    return {digest: names[job] for digest, job in reversed(rows)}


def list_reruns(pipeline: Pipeline) -> list[Pipeline]:
    """The newest pipelines that run a part of this one again."""
    return list(pipeline.reruns.order_by("-pk").defer("document")[:MAX_RERUNS])


def is_moving(pipeline_id: int) -> bool:
    """Whether a job of it may still move."""
    return PipelineStep.objects.filter(pipeline=pipeline_id, job__state__in=MOVING).exists()


def list_rerunnable_steps(loaded: LoadedPipeline) -> list[str]:
    """The steps that may run again now: what they and all below them take from others is there."""
    done = {step.name for step in loaded.steps if step.job.state == JobState.SUCCEEDED}
    return [
        name
        for name in loaded.parents
        if find_needed_steps(loaded.parents, find_descendants(loaded.parents, name)) <= done
    ]


def find_first_failed(steps: Iterable[PipelineStep]) -> PipelineStep | None:
    """The step to look at: the first that failed by itself, else the first that failed at all."""
    failed = [step for step in steps if step.job.state == JobState.FAILED]
    own = (step for step in failed if not is_failed_by_parent(step.job))
    return next(own, next(iter(failed), None))


def get_display_state(job: Job) -> str:
    """The state that a page shows of a step: what failed only because of another step is no failure of its own."""
    if job.state == JobState.RUNNING and job.cancel_requested_at:
        return "cancelling"
    return "not_run" if is_failed_by_parent(job) else job.state


def get_progress(job: Job) -> dict[str, Any]:
    """What a job reported last, with its share of the whole where it knows one."""
    progress = dict(job.progress or {})
    if progress.get("total"):
        progress["share"] = (progress.get("done") or 0) / progress["total"]
    return progress
