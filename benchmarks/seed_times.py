"""The ended jobs, chains and runs that benchmarks/seed.py made, once more and again, by SQL in the database itself.

A copy is its original under other keys; what both were made from stays one, so hubs of the lineage grow as they would.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.db.models import Max

from apps.ml.experiments.models import Metric, MetricBucket, MetricPoint, Run, RunParam
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.platform.jobs.models import Job, JobEvent, JobInput, JobOutput, JobParent
from apps.platform.jobs.states import ENDED
from apps.platform.lineage.models import Edge

# Each with the column that says of which copied row it is; what others refer to comes first.
COPIED: tuple[tuple[type[models.Model], str], ...] = (
    (Job, "id"),
    (Pipeline, "id"),
    (PipelineStep, "pipeline"),
    (JobParent, "child"),
    (JobInput, "job"),
    (JobOutput, "job"),
    (JobEvent, "job"),
    (Run, "job"),
    (RunParam, "run"),
    (Metric, "run"),
    (MetricPoint, "metric"),
    (MetricBucket, "metric"),
)
PARENTS = (Job, Pipeline, Run, Metric)


@dataclass(frozen=True)
class Keys:
    """How far the keys of each table are moved for each copy."""

    spans: dict[type[models.Model], int]

    def moved(self, kind: type[models.Model], column: str, copy: int) -> str:
        if kind is Run:  # 32 hex digits, turned
            return f"substr({column}, {copy + 1}) || substr({column}, 1, {copy})"
        return f"{column} + {copy * self.spans[kind]}"


def multiply(demo_jobs: int, demo_pipelines: int, times: int) -> None:
    """`times` as many of what came after the demo's own: its jobs and pipelines have keys up to these."""
    if times < 2:
        return
    keys = Keys({kind: kind.objects.aggregate(last=Max("pk"))["last"] or 0 for kind, _ in COPIED if kind is not Run})
    with connection.cursor() as cursor:
        unchecked = "SET session_replication_role = replica" if on_postgresql() else "PRAGMA foreign_keys = OFF"
        cursor.execute(unchecked)  # what is written refers to what is there
        choose(cursor, demo_jobs, demo_pipelines)
        for copy in range(1, times):
            with transaction.atomic():
                for kind, owner in COPIED:
                    cursor.execute(copying(kind, owner, keys, copy))
                cursor.execute(edges(keys, copy))
            print(f"copy {copy} of {times - 1}", flush=True)
        numbered = [kind for kind, _ in COPIED if kind is not Run]
        for statement in connection.ops.sequence_reset_sql(no_style(), numbered):
            cursor.execute(statement)
        cursor.execute("SET session_replication_role = origin" if on_postgresql() else "PRAGMA foreign_keys = ON")


def settle() -> None:
    """What PostgreSQL does by itself after a while, where autovacuum is on: without it, its plans are of an empty
    plane. An embedded plane has nothing like it."""
    if on_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def on_postgresql() -> bool:
    return connection.vendor == "postgresql"


def name_of(kind: type[models.Model]) -> str:
    return f"copied_{kind._meta.model_name}"


def choose(cursor: object, demo_jobs: int, demo_pipelines: int) -> None:
    """Tables of the keys that are copied: no job that is on its way, nor its pipeline."""
    ended = ", ".join(f"'{state}'" for state in sorted(ENDED))
    step, job = PipelineStep._meta.db_table, Job._meta.db_table
    chosen = {
        Pipeline: f"""SELECT id FROM {Pipeline._meta.db_table} WHERE id > {demo_pipelines} AND id NOT IN
            (SELECT s.pipeline_id FROM {step} s JOIN {job} j ON j.id = s.job_id WHERE j.state NOT IN ({ended}))""",
        Job: f"""SELECT j.id FROM {job} j LEFT JOIN {step} s ON s.job_id = j.id WHERE j.id > {demo_jobs} AND
            j.state IN ({ended}) AND (s.id IS NULL OR s.pipeline_id IN (SELECT id FROM {name_of(Pipeline)}))""",
        Run: f"SELECT id FROM {Run._meta.db_table} WHERE job_id IN (SELECT id FROM {name_of(Job)})",
        Metric: f"SELECT id FROM {Metric._meta.db_table} WHERE run_id IN (SELECT id FROM {name_of(Run)})",
    }
    for kind, query in chosen.items():
        cursor.execute(f"CREATE TEMPORARY TABLE {name_of(kind)} AS {query}")  # type: ignore[attr-defined]
        cursor.execute(f"CREATE UNIQUE INDEX {name_of(kind)}_once ON {name_of(kind)} (id)")  # type: ignore[attr-defined]
    if on_postgresql():
        cursor.execute("ANALYZE")  # type: ignore[attr-defined]


def copying(kind: type[models.Model], owner: str, keys: Keys, copy: int) -> str:
    """Rows of one table: keys moved, and those of copied rows that they refer to."""
    columns, values = [], []
    for field in kind._meta.concrete_fields:
        column = f'"{field.column}"'
        columns.append(column)
        target = kind if field.primary_key else field.remote_field.model if field.remote_field else None
        values.append(keys.moved(target, column, copy) if field.primary_key or target in PARENTS else column)
    of = kind if owner == "id" else kind._meta.get_field(owner).remote_field.model  # type: ignore[union-attr]
    held = kind._meta.get_field(owner).column  # type: ignore[union-attr]
    return (
        f"INSERT INTO {kind._meta.db_table} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM {kind._meta.db_table} WHERE {held} IN (SELECT id FROM {name_of(of)})"
    )


def edges(keys: Keys, copy: int) -> str:
    """What went into the copied jobs."""
    named = {field.column: f'e."{field.column}"' for field in Edge._meta.concrete_fields if not field.primary_key}
    moved = f"CAST({keys.moved(Job, 'j.id', copy)} AS varchar(80))"
    named |= {"target_id": moved, "target_label": f"replace(e.target_label, e.target_id, {moved})"}
    return (
        f"INSERT INTO {Edge._meta.db_table} ({', '.join(named)}) SELECT {', '.join(named.values())} "
        f"FROM {name_of(Job)} j JOIN {Edge._meta.db_table} e ON e.target_type = 'job' "
        f"AND e.target_id = CAST(j.id AS varchar(80)) WHERE e.project_id IS NOT NULL"
    )
