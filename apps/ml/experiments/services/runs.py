"""Every write of a run that a client keeps: from its start to its end, its params and tags. No job measures it; whose
word it is stands on it.

Params and tags are telemetry as points are: the record of the run's end holds their digests. What changes afterwards
has a record of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.db import fast_sql
from apps.core.errors import Invalid, NotFound
from apps.core.policy import require
from apps.ml.experiments.keys import NAME_TAG, PARAM_LIMIT, TAG_LIMIT, check_key, check_length
from apps.ml.experiments.metrics import series
from apps.ml.experiments.models import Experiment, Metric, Run, RunParam, RunTag
from apps.ml.experiments.run_names import generate_run_name
from apps.ml.experiments.services.annotations import mark_deleted, refuse_purging
from apps.ml.experiments.services.experiments import check_active
from apps.ml.experiments.services.metric_ingestion import ingest_batches
from apps.ml.experiments.services.metrics import (
    ModelPoint,
    SentPoint,
    check_model_points,
    check_open,
    check_points,
    insert_batch,
    write_model_metrics,
)
from apps.ml.experiments.states import ENDED, RunState
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, draft, record
from apps.platform.holds.queries import refuse_held
from deepseek.messages import Message

NAME_LIMIT, USER_LIMIT = 250, 256
ACTIONS = {
    RunState.FINISHED: "run.finish",
    RunState.FAILED: "run.fail",
    RunState.KILLED: "run.kill",
    RunState.RUNNING: "run.reopen",
    RunState.SCHEDULED: "run.schedule",
}
Pairs = Sequence[tuple[str, str]]
HOLD = "SELECT id FROM experiments_run WHERE id = %s"
TO_SEAL = """
SELECT 'metric', key, digest, count FROM experiments_metric WHERE run_id = %s
UNION ALL SELECT 'param', key, value, 0 FROM experiments_runparam WHERE run_id = %s
UNION ALL SELECT 'tag', key, value, 0 FROM experiments_runtag WHERE run_id = %s
UNION ALL SELECT 'batch', '', '', 0 WHERE EXISTS (SELECT 1 FROM experiments_metricbatch WHERE run_id = %s)
"""


# -- its life -------------------------------------------------------------------------------------------------------
def create_run(
    *,
    actor: Actor,
    experiment: Experiment,
    name: str = "",
    started_at: datetime | None = None,
    client_user: str = "",
    tags: Pairs = (),
) -> Run:
    """A run that goes on from now, under an invented name where it was given none. Raises Invalid."""
    require(actor, "run.track", experiment)
    check_active(experiment)
    remaining_tags = dict(tags)
    name = resolve_run_name(name, remaining_tags.pop(NAME_TAG, ""))
    check_length(client_user, "user_id", USER_LIMIT)
    for key in remaining_tags:
        check_key(key, "key")
    run = Run(
        project_id=experiment.project_id,
        experiment=experiment,
        name=name or generate_run_name(),
        started_at=started_at or timezone.now(),
        created_by=actor.label,
        client_user=client_user,
    )
    tags_of_it = [
        RunTag(run_id=run.pk, key=key, value=value[:TAG_LIMIT]) for key, value in sorted(remaining_tags.items())
    ]
    after = {"name": run.name, "experiment": experiment.number}
    fast_sql.insert_rows([run, *tags_of_it, draft(actor=actor, action="run.create", obj=run, after=after)])
    return run


def resolve_run_name(name: str, tag: str) -> str:
    if name and tag and name != tag:
        raise Invalid(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different "
            "values (run_name='{name}', mlflow.runName='{tag}').",
            name=name,
            tag=tag,
            field="run_name",
        )
    name = name or tag
    check_length(name, "run_name", NAME_LIMIT)
    return name


def update_run(*, actor: Actor, run: Run, state: str = "", ended_at: datetime | None = None, name: str = "") -> Run:
    """Another state, end or name; what is empty stays. A run that ends is sealed: the record holds its digests.

    One that goes on after it has ended has no end any more. Raises Invalid for a deleted run, Refused for a job's.
    """
    require(actor, "run.track", run)
    check_open(run, run.pk, actor=actor)
    check_length(name, "run_name", NAME_LIMIT)
    if run.job_id is not None:  # its script may rename it; how it ends is told by the job
        state, ended_at = "", None
    with transaction.atomic():
        if name:
            rename_run(actor, run, name)
        if state and state != run.state:
            move_run(actor, run, state, ended_at)
        elif ended_at is not None and run.ended_at != ended_at:
            Run.objects.filter(pk=run.pk).update(ended_at=ended_at)
            record(
                actor=actor,
                action="run.set_end",
                obj=run,
                before={"ended_at": run.ended_at},
                after={"ended_at": ended_at},
            )
            run.ended_at = ended_at
    return run


def move_run(actor: Actor, run: Run, state: str, ended_at: datetime | None) -> None:
    if state not in ENDED:
        fields: dict[str, Any] = {"ended_at": None, "metrics_digest": "", "metrics_count": 0}
        change_state(run, state, actor=actor, action=ACTIONS[RunState(state)], guard={"job": None}, **fields)
        return
    # Held, or points come into the metrics between here and the seal.
    lock_run_row(run.pk)
    metrics, params, tags, waits = read_sealed_rows(run.pk)
    if waits:
        ingest_batches(run_ids=[run.pk])
        metrics, params, tags, _ = read_sealed_rows(run.pk)
    digest = series.compute_run_digest(metrics)
    change_state(
        run,
        state,
        actor=actor,
        action=ACTIONS[RunState(state)],
        guard={"job": None, "deleted_at": None},
        digests={
            "metrics": digest,
            "params": compute_digest(params),
            "tags": compute_digest(tags),
        },
        ended_at=ended_at or timezone.now(),
        metrics_digest=digest,
        metrics_count=series.count_run_points(metrics),
    )


def lock_run_row(run_id: str) -> bool:
    """Lock the row of a run until the transaction ends; False where there is none."""
    lock = "FOR NO KEY UPDATE" if connection.features.has_select_for_update else ""
    return bool(fast_sql.fetch(f"{HOLD} {lock}", [run_id]))


def read_sealed_rows(run_id: str) -> tuple[list[Metric], dict[str, str], dict[str, str], bool]:
    """The metrics, params and tags of a run, as far as its seal is of them, and whether points wait to be taken in; one
    statement."""
    metrics: list[Metric] = []
    pairs: dict[str, dict[str, str]] = {"param": {}, "tag": {}}
    waits = False
    for kind, key, value, count in fast_sql.fetch(TO_SEAL, [run_id] * 4):
        if kind == "metric":
            metrics.append(Metric(key=key, digest=value, count=count))
        elif kind == "batch":
            waits = True
        else:
            pairs[kind][key] = value
    return metrics, pairs["param"], pairs["tag"], waits


def rename_run(actor: Actor, run: Run, name: str) -> None:
    if name == run.name:
        return
    Run.objects.filter(pk=run.pk).update(name=name)
    record(actor=actor, action="run.rename", obj=run, before={"name": run.name}, after={"name": name})
    run.name = name


def delete_run(*, actor: Actor, run: Run) -> None:
    """Lists leave it out, reads go on, and it can be restored. Again is no change. Conflict where a hold keeps it."""
    mark_run(actor, run, deleted=True)


def restore_run(*, actor: Actor, run: Run) -> None:
    """The opposite. Conflict where a purge has begun to remove it."""
    mark_run(actor, run, deleted=False)


def mark_run(actor: Actor, run: Run, *, deleted: bool) -> None:
    require(actor, "run.track", run)
    if run.job_id is not None:
        check_open(run, run.pk)
    with transaction.atomic():
        locked = Run.objects.select_for_update(no_key=True).only("deleted_at", "purging_at").get(pk=run.pk)
        if (locked.deleted_at is not None) == deleted:
            return
        if deleted:
            refuse_held(run.project_id, ("run", run.pk), ("experiment", str(run.experiment_id)))
        else:
            refuse_purging(locked)
        mark_deleted(actor, run, deleted=deleted)


# -- params, tags, points -------------------------------------------------------------------------------------------
def log_batch(
    *,
    actor: Actor,
    project: Project,
    run_id: str,
    points: Sequence[SentPoint] = (),
    params: Pairs = (),
    tags: Pairs = (),
    of_models: Sequence[ModelPoint] = (),
    listed: bool = True,
) -> None:
    """Points, params and tags of one run, all or nothing. A param is written once; a tag is replaced.

    `listed`: errors name them as members of the lists `metrics`, `params`, `tags`.
    """
    require(actor, "run.track", project)
    check_points(points, listed=listed)
    check_model_points(of_models)
    check_pairs(params, "params" if listed else "", about="Param key")
    check_pairs(tags, "tags" if listed else "", about="key")
    with transaction.atomic():
        run = open_run(project.pk, run_id)
        check_open(run, run_id, actor=actor, also_of_jobs=not (points or params or of_models))
        if points:
            insert_batch(actor, project.pk, run_id, points)
        if of_models:
            write_model_metrics(run_id, project.pk, of_models)
        cut_params = {key: value[:PARAM_LIMIT] for key, value in params}
        write_params(run_id, cut_params, listed=listed)
        set_tags(actor, run, dict(tags))
        if (params or tags) and is_amendment(actor, run):
            record_run_amendment(actor, run, params=cut_params, tags=dict(tags))


def set_tags(actor: Actor, run: Run, tags: dict[str, str]) -> None:
    name = tags.pop(NAME_TAG, "")
    if name:
        check_open(run, run.pk, actor=actor)
        check_length(name, "run_name", NAME_LIMIT)
        rename_run(actor, run, name)
    write_tags(run.pk, tags)


def delete_tag(*, actor: Actor, project: Project, run_id: str, key: str) -> None:
    require(actor, "run.track", project)
    with transaction.atomic():
        run = open_run(project.pk, run_id)
        check_open(run, run_id, also_of_jobs=True)
        if not run.tags.delete_key(key):
            raise NotFound("No tag with name: {key} in run with id {run_id}", key=key, run_id=run_id, field="key")
        if is_amendment(actor, run):
            record_run_amendment(actor, run, tags={key: None})


def open_run(project_id: int, run_id: str) -> Run:
    """The run as its writes need it; NotFound."""
    columns = ("id", "project_id", "name", "state", "deleted_at", "job_id")
    run = fast_sql.select_first(Run, columns, id=run_id, project_id=project_id)
    if run is None:
        raise NotFound("Run with id={run_id} not found", run_id=run_id, field="run_id")
    return run


def is_amendment(actor: Actor, run: Run) -> bool:
    """Whether the record of the run's end does not hold what is written now: it was written before, or holds no tags,
    as that of a job's run, unless it is the job's script that writes."""
    return run.state in ENDED or (run.job_id is not None and actor.run_id != run.pk)


def record_run_amendment(actor: Actor, run: Run, **what: Mapping[str, Any]) -> None:
    """A run was changed, and the record of its end does not hold this."""
    changed_keys = {name: sorted(pairs) for name, pairs in what.items() if pairs}
    digests = {name: compute_digest(dict(pairs)) for name, pairs in what.items() if pairs}
    record(actor=actor, action="run.amend", obj=run, after=changed_keys, digests=digests)


# -- rows -----------------------------------------------------------------------------------------------------------
def write_params(run_id: str, params: Mapping[str, str], *, listed: bool) -> None:
    """Raises Invalid where one was written with another value before. Sorted: two who write the same take turns."""
    if not params:
        return
    rows = [(run_id, key, value) for key, value in sorted(params.items())]
    if insert_pairs("experiments_runparam", rows, "DO NOTHING") == len(rows):
        return
    stored = dict(RunParam.objects.filter(run_id=run_id, key__in=params).values_list("key", "value"))
    changed = [
        {"key": key, "old_value": stored[key], "new_value": value}
        for key, value in params.items()
        if stored.get(key, value) != value
    ]
    if not changed:
        return
    text = Message("Params were already logged='{changed}' for run ID='{run_id}'.", changed=changed, run_id=run_id)
    if not listed:
        change = changed[0]
        text = Message(
            "Param with key='{key}' was already logged with value='{old_value}' for run "
            "ID='{run_id}'. Attempted logging new value '{new_value}'.",
            key=change["key"],
            old_value=change["old_value"],
            run_id=run_id,
            new_value=change["new_value"],
        )
    raise Invalid("Changing param values is not allowed. {text}", text=text, code="param_changed", field="params")


def write_tags(run_id: str, tags: Mapping[str, str]) -> None:
    rows = [(run_id, key, value[:TAG_LIMIT]) for key, value in sorted(tags.items())]
    if rows:
        insert_pairs("experiments_runtag", rows, "DO UPDATE SET value = excluded.value")


def insert_pairs(table: str, rows: Sequence[tuple[str, str, str]], on_conflict: str) -> int:
    """How many rows of (run, key, value) were written."""
    places = ", ".join(["(%s, %s, %s)"] * len(rows))
    sql = f"INSERT INTO {table} (run_id, key, value) VALUES {places} ON CONFLICT (run_id, key) {on_conflict}"  # noqa: S608 - no text of a caller's
    return fast_sql.execute(sql, [value for row in rows for value in row])


def check_pairs(pairs: Pairs, list_name: str, *, about: str) -> None:
    for index, (key, _value) in enumerate(pairs):
        check_key(key, f"{list_name}[{index}].key" if list_name else "key", about=about)
