"""Every write of a job's run. A worker keeps one per job; a later attempt of the job goes on with the same run.

`Run.attempt` is the fence: what an earlier attempt still writes finds no row and is StaleState.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import nan
from typing import Any

from django.db import transaction
from django.db.models import Min
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.ml.experiments.metrics import downsampling, series
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import Experiment, Metric, Run, RunArtifact, RunParam, RunTag, RunToken
from apps.ml.experiments.services.annotations import mark_deleted, refuse_purging
from apps.ml.experiments.services.experiments import ensure_experiment
from apps.ml.experiments.services.metric_ingestion import ingest_batches
from apps.ml.experiments.services.points import MAX_POINTS_PER_BATCH, SUMMARY_COLUMNS, add_buckets, add_points
from apps.ml.experiments.states import RunState
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import ENDED as JOB_ENDED
from apps.platform.jobs.states import JobState
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from deepseek.messages import Message, restore_message

PARAM_LIMIT = 6000  # characters of a value, as MLflow; the whole spec stays with the job
KEYS_LIMIT = 2000  # metrics of one run: a name that is new at every step must not fill the database
SCRIPT_KINDS = frozenset(name for name, kind in KINDS.items() if kind.user_code)  # whose scripts log to the run too
ENDINGS = {JobState.SUCCEEDED: RunState.FINISHED, JobState.FAILED: RunState.FAILED, JobState.CANCELLED: RunState.KILLED}
ACTIONS = {RunState.FINISHED: "run.finish", RunState.FAILED: "run.fail", RunState.KILLED: "run.kill"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a run when it starts."""

    params: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    code_digest: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)  # slot -> digest


# -- one run --------------------------------------------------------------------------------------------------------
def start_run(*, actor: Actor, job: Job, facts: Facts, experiment: str = "") -> Run:
    """The run of this attempt of `job`: a new one, or the one that an earlier attempt began, open again.

    Call it in a transaction that has made sure that the attempt still holds the job.
    """
    require(actor, "run.record", job)
    with transaction.atomic():
        run = Run.objects.select_for_update(no_key=True, of=("self",)).filter(job=job).first()
        if run is None:
            return insert_run(actor, job, facts, ensure_experiment(actor=actor, project=job.project, name=experiment))
        reopen_run(actor, run, job.attempt, facts)
    return run


def insert_run(actor: Actor, job: Job, facts: Facts, experiment: Experiment) -> Run:
    run = Run.objects.create(
        project=job.project,
        experiment=experiment,
        name=job.name or f"{job.kind} {job.pk}",
        kind=job.kind,
        job=job,
        attempt=job.attempt,
        started_at=timezone.now(),
        created_by=job.requester,
        environment=dict(facts.environment),
        code_digest=facts.code_digest,
        spec_digest=job.spec_digest,
        inputs=dict(facts.inputs),
    )
    RunParam.objects.bulk_create(
        RunParam(run=run, key=key, value=value[:PARAM_LIMIT]) for key, value in facts.params.items()
    )
    record(
        actor=actor,
        action="run.start",
        obj=run,
        after={"experiment": experiment.name, "name": run.name, "job": job.pk, "attempt": run.attempt},
        digests={"spec": run.spec_digest, "code": run.code_digest, **run.inputs},
    )
    return run


def reopen_run(actor: Actor, run: Run, attempt: int, facts: Facts) -> None:
    """Another attempt goes on, perhaps on another machine: its environment is the one that counts from now on.

    A run that was deleted meanwhile is there again. Raises Conflict where a purge has begun to remove it.
    """
    if run.deleted_at is not None:
        refuse_purging(run)
        mark_deleted(actor, run, deleted=False, reason=f"Attempt {attempt} goes on")
    run.environment, run.code_digest = dict(facts.environment), facts.code_digest
    Run.objects.filter(pk=run.pk).update(environment=run.environment, code_digest=run.code_digest)
    if run.ended:
        change_state(
            run,
            RunState.RUNNING,
            actor=actor,
            reason=Message("Attempt {attempt} goes on", attempt=attempt),
            action="run.reopen",
            attempt=attempt,
            ended_at=None,
            metrics_digest="",
            metrics_count=0,
        )
        return
    before = run.attempt
    Run.objects.filter(pk=run.pk).update(attempt=attempt)
    record(
        actor=actor,
        action="run.go_on",
        obj=run,
        before={"attempt": before},
        after={"attempt": attempt},
        digests={"code": run.code_digest},
    )
    run.attempt = attempt


def log_metrics(*, actor: Actor, run: Run, points: Sequence[Point]) -> int:
    """Append points of the attempt that `run` was read with; how many metrics were left out for KEYS_LIMIT.

    The first points of a metric that an attempt reports replace those of the same and later steps that an earlier
    attempt left: it went on from a checkpoint and reports them again. Seven queries for what a worker sends at once.
    Raises StaleState when another attempt has the run, Invalid for a point of nonsense; then nothing is written.
    """
    require(actor, "run.record", run)
    by_key: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        series.check_point(point)
        by_key[point.key].append(point)
    with transaction.atomic():
        lock_run(run)
        metrics = {metric.key: metric for metric in Metric.objects.filter(run=run, key__in=by_key)}
        for key, metric in metrics.items():
            if metric.attempt != run.attempt:
                truncate_metric(metric, min(point.step for point in by_key[key]))
        fresh = [key for key in by_key if key not in metrics]
        room = max(0, KEYS_LIMIT - Metric.objects.filter(run=run).count()) if fresh else 0
        for key in fresh[:room]:
            metrics[key] = Metric(
                run=run,
                project_id=run.project_id,
                experiment_id=run.experiment_id,
                started_at=run.started_at,
                key=key,
            )
            series.reset_metric(metrics[key])
        save_points(run, metrics, by_key)
    return len(fresh[room:])


def lock_run(run: Run) -> None:
    locked = Run.objects.select_for_update(no_key=True).filter(pk=run.pk, attempt=run.attempt, state=RunState.RUNNING)
    if not locked.exists():
        raise StaleState(
            "Run {run_pk} is not recorded by attempt {attempt} any more.",
            run_pk=run.pk,
            attempt=run.attempt,
            field="attempt",
        )


def truncate_metric(metric: Metric, step: int) -> None:
    """Remove the points at `step` and behind it, and make the row what it was before them."""
    touched = metric.buckets.filter(level=0, last_step__gte=step).aggregate(first=Min("upto"))["first"]
    kept_count = (
        metric.count if touched is None else touched - downsampling.get_bucket_size(0)
    )  # points whose buckets stay
    metric.buckets.filter(upto__gt=kept_count).delete()
    metric.points.filter(step__gte=step).delete()
    series.reset_metric(metric)
    rows = metric.points.order_by("id").values_list("step", "value", "is_nan", "at").iterator()
    points = (Point(metric.key, nan if is_nan else value, at_step, at) for at_step, value, is_nan, at in rows)
    while batch := list(islice(points, MAX_POINTS_PER_BATCH)):
        add_buckets([(metric, full) for full in series.fold_points(metric, batch) if full.upto > kept_count])


def save_points(run: Run, metrics: Mapping[str, Metric], by_key: Mapping[str, Sequence[Point]]) -> None:
    filled = []
    for key, metric in metrics.items():
        metric.attempt = run.attempt
        filled += [(metric, full) for full in series.fold_points(metric, by_key[key])]
    Metric.objects.bulk_create([metric for metric in metrics.values() if metric.pk is None])
    old = [metric for metric in metrics.values() if metric.pk is not None]
    Metric.objects.bulk_update(old, [*SUMMARY_COLUMNS, "count", "attempt", "digest", "open_buckets"])
    add_points((metric, by_key[key]) for key, metric in metrics.items())
    add_buckets(filled)


def finish_run(
    *,
    actor: Actor,
    run: Run,
    state: str,
    reason: str = "",
    artifacts: Collection[tuple[str, Artifact, str]] = (),
    figures: Mapping[str, Any] | None = None,
) -> Run:
    """Close the run: its artifacts (path, artifact, media type), figures, and the digest of everything it measured.

    Call it in the transaction that ends the job. Raises StaleState when another attempt has the run.
    """
    require(actor, "run.record", run)
    with transaction.atomic():
        close_run(actor, run, state, reason=reason, artifacts=artifacts, figures=figures)
        if state == RunState.FINISHED and run.job is not None:
            job = End("job", str(run.job_id), label=str(run.job))
            end = End("run", run.pk, digest=run.metrics_digest, label=run.name)
            record_edges(actor=actor, project=run.project, edges=[EdgeSpec.between(job, end, "run")])
    return run


def close_run(
    actor: Actor,
    run: Run,
    state: str,
    *,
    reason: str,
    artifacts: Collection[tuple[str, Artifact, str]] = (),
    figures: Mapping[str, Any] | None = None,
    guard: Mapping[str, Any] | None = None,
) -> Run:
    with transaction.atomic():
        digests = seal_script_rows(run) if run.kind in SCRIPT_KINDS else {}
        metrics = list(Metric.objects.filter(run=run).only("key", "count", "digest"))
        digest = series.compute_run_digest(metrics)
        Run.objects.filter(pk=run.pk).update(figures=dict(figures or {}))
        change_state(
            run,
            state,
            actor=actor,
            reason=reason,
            guard={"attempt": run.attempt, **(guard or {})},
            action=ACTIONS[RunState(state)],
            digests={"metrics": digest, "code": run.code_digest, "spec": run.spec_digest, **run.inputs, **digests},
            ended_at=Now(),
            metrics_digest=digest,
            metrics_count=series.count_run_points(metrics),
        )
        RunArtifact.objects.bulk_create(
            (
                RunArtifact(run=run, path=path, artifact=artifact, size=artifact.size, media_type=media_type)
                for path, artifact, media_type in artifacts
            ),
            ignore_conflicts=run.kind in SCRIPT_KINDS,  # a script may have logged a file under that path itself
        )
    return run


def seal_script_rows(run: Run) -> dict[str, str]:
    """Take in the metrics that the job's script has sent and void its token; the digests of its params and tags."""
    RunToken.objects.filter(run=run).delete()
    ingest_batches(run_ids=[run.pk])
    return {
        name: compute_digest(dict(rows.filter(run=run).values_list("key", "value")))
        for name, rows in (("params", RunParam.objects), ("tags", RunTag.objects))
    }


def close_ended_runs(*, actor: Actor, limit: int = 100) -> int:
    """Close the open runs whose jobs have ended without a worker: cancelled while they waited to be tried again, or
    lost for the last time. For the dispatcher; compare-and-set, so several may run.
    """
    require(actor, "job.recover")
    closed = 0
    open_runs = Run.objects.filter(state=RunState.RUNNING, job__isnull=False, job__state__in=JOB_ENDED)
    for run in open_runs.select_related("job").order_by("job_id")[:limit]:
        job: Job = run.job  # type: ignore[assignment]  # asked for above
        try:
            close_run(
                actor.with_job(job.pk),
                run,
                ENDINGS[JobState(job.state)],
                reason=get_end_reason(job),
                guard={"job__state": job.state},
            )
            closed += 1
        except StaleState:  # tried again, or another dispatcher was faster
            continue
    return closed


def get_end_reason(job: Job) -> str:
    """The reason that the record of a run's end gives."""
    return restore_message(job.error or {}) or job.cancel_reason[:500]
