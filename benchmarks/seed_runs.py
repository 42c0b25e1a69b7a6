"""Runs for benchmarks/tracking.py, written by SQL into the tables of the plane and of an MLflow server, alike.

A run has three metrics of one point each, three params of one digit and two tags. PostgreSQL only.
"""

from __future__ import annotations

import time

import psycopg

METRICS, PARAMS, TAGS = ("acc", "loss", "f1"), ("lr", "bs", "depth"), ("team", "mlflow.user")

# {from} and {to} are the numbers of the runs, {experiment} the experiment's key; the same numbers give the same runs.
RUN = "md5('{experiment}/' || n)"
DRAWN = "(('x' || substr(md5(key || n), 1, 8))::bit(32)::bigint & 2147483647) / 2147483648.0"  # 0..1, by key and number
DIGIT = f"floor(10 * {DRAWN})::int::text"
NUMBERS = "generate_series({first}, {last}) n"


def each(keys: tuple[str, ...]) -> str:
    return f"{NUMBERS} CROSS JOIN unnest(ARRAY{list(keys)!r}) key"


REFERENCE = [
    f"""INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,
        end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)
        SELECT {RUN}, 'run-' || n, 'UNKNOWN', '', '', 'b', 'FINISHED', 1700000000000 + n, 1700000000000 + n + 900, '',
        'active', 'mlflow-artifacts:/{{experiment}}/' || {RUN} || '/artifacts', {{experiment}} FROM {NUMBERS}""",
    f"""INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
        SELECT key, {DRAWN}, 1700000000000 + n, {RUN}, 0, false FROM {each(METRICS)}""",
    f"""INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
        SELECT key, {DRAWN}, 1700000000000 + n, 0, false, {RUN} FROM {each(METRICS)}""",
    f"INSERT INTO params (key, value, run_uuid) SELECT key, {DIGIT}, {RUN} FROM {each(PARAMS)}",
    f"INSERT INTO tags (key, value, run_uuid) SELECT key, {DIGIT}, {RUN} FROM {each((*TAGS, 'mlflow.runName'))}",
]

MOMENT = "to_timestamp((1700000000000 + n) / 1000.0)"
PLANE = [
    f"""INSERT INTO experiments_run (id, project_id, experiment_id, name, kind, attempt, state, started_at, ended_at,
        created_by, client_user, environment, code_digest, spec_digest, inputs, figures, metrics_digest, metrics_count)
        SELECT {RUN}, {{project}}, {{experiment}}, 'run-' || n, '', 0, 'succeeded', {MOMENT},
        {MOMENT} + interval '900 ms', 'b', 'b', '{{{{}}}}', '', '', '{{{{}}}}', '{{{{}}}}', '', 3 FROM {NUMBERS}""",
    f"""INSERT INTO experiments_metric (run_id, project_id, experiment_id, started_at, key, value, is_nan, step, at,
        first_step, lowest, lowest_step, highest, highest_step, count, attempt, digest, open_buckets)
        SELECT {RUN}, {{project}}, {{experiment}}, {MOMENT}, key, {DRAWN}, false, 0, {MOMENT}, 0, {DRAWN}, 0, {DRAWN},
        0, 1, 0, '', '[]' FROM {each(METRICS)}""",
    """INSERT INTO experiments_metricpoint (metric_id, step, value, is_nan, at)
        SELECT m.id, 0, m.value, false, m.at FROM experiments_metric m WHERE m.experiment_id = {experiment}
        AND m.id > {newest}""",
    f"INSERT INTO experiments_runparam (run_id, key, value) SELECT {RUN}, key, {DIGIT} FROM {each(PARAMS)}",
    f"INSERT INTO experiments_runtag (run_id, key, value) SELECT {RUN}, key, {DIGIT} FROM {each(TAGS)}",
]


def of_plane(url: str, number: str, slug: str, first: int, last: int) -> float:
    """Runs `first` to `last` in the plane's experiment `number` of a project; seconds that it took."""
    with psycopg.connect(url, autocommit=True) as database:
        experiment, project = database.execute(
            "SELECT e.id, e.project_id FROM experiments_experiment e JOIN accounts_project p ON p.id = e.project_id "
            "WHERE e.number = %s AND p.slug = %s",
            (number, slug),
        ).fetchone()
        (newest,) = database.execute("SELECT coalesce(max(id), 0) FROM experiments_metric").fetchone()
        return written(database, PLANE, first, last, experiment=experiment, project=project, newest=newest)


def of_reference(url: str, number: str, first: int, last: int) -> float:
    with psycopg.connect(url, autocommit=True) as database:
        return written(database, REFERENCE, first, last, experiment=number)


def written(database: psycopg.Connection, statements: list[str], first: int, last: int, **names: object) -> float:
    begun = time.monotonic()
    database.execute("SET session_replication_role = replica")  # what is written refers to what is there
    for statement in statements:
        database.execute(statement.format(first=first, last=last, **names))
    database.execute("VACUUM ANALYZE")
    return time.monotonic() - begun
