"""Log metrics of clients: each call is stored durably as one MetricBatch row, exactly as it was sent.

metric_ingestion.py merges the batches into the metrics later, so a training loop waits for one statement, not for nine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from sys import float_info
from typing import NamedTuple

from django.db import connection
from django.utils import timezone
from pydantic_core import from_json, to_json

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.db.fast_sql import execute
from apps.core.errors import Invalid, NotFound, Refused
from apps.core.policy import InProject, require
from apps.ml.experiments.keys import KEY_LIMIT, PLAIN, check_key, check_length
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import STEP_LIMIT, Point
from apps.ml.experiments.models import LoggedModel, Run

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# Milliseconds since 1970 that every database and time zone holds: the years 2 to 9998.
EARLIEST, LATEST = ((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECOND for year in (2, 9999))
DATASET_NAME_LIMIT, DATASET_DIGEST_LIMIT = 500, 36

TAKE_DOWN = """
INSERT INTO experiments_metricbatch (run_id, experiment_id, points, sender, at)
SELECT id, experiment_id, %s, %s, %s FROM experiments_run
 WHERE id = %s AND project_id = %s AND deleted_at IS NULL AND (job_id IS NULL OR id = %s)
"""
# The newest of each metric counts, as in a run: by step, then by time.
OF_MODEL = """
INSERT INTO experiments_loggedmodelmetric AS old
       (model_id, run_id, key, value, is_nan, step, at, dataset_name, dataset_digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (model_id, key, dataset_name, dataset_digest, run_id) DO UPDATE
   SET value = excluded.value, is_nan = excluded.is_nan, step = excluded.step, at = excluded.at
 WHERE (excluded.step, excluded.at) >= (old.step, old.at)
"""


class SentPoint(NamedTuple):
    """A point as clients send it. `at`: milliseconds since 1970. NaN is a value; an infinity becomes the largest."""

    key: str
    value: float
    at: int
    step: int


class ModelPoint(NamedTuple):
    """A point that was measured of a logged model, perhaps on a dataset."""

    point: SentPoint
    model_id: str
    dataset_name: str
    dataset_digest: str


def log_points(
    *, actor: Actor, project_id: int, run_id: str, points: Sequence[SentPoint], listed: bool = False
) -> None:
    """Take points of a run down: one statement, which looks at the run as well.

    `listed`: errors name them as members of the list `metrics`. Raises NotFound for a run that is not there, Invalid
    for a deleted one and for points of nonsense, Refused for a job's; then nothing is written.
    """
    require(actor, "run.track", InProject(project_id))
    check_points(points, listed=listed)
    insert_batch(actor, project_id, run_id, points)


def insert_batch(actor: Actor, project_id: int, run_id: str, points: Sequence[SentPoint]) -> None:
    row = [serialize_points(points), serialize_sender(actor), timezone.now()]
    if not execute(TAKE_DOWN, [*row, run_id, project_id, actor.run_id]):
        raise_closed_run_error(project_id, run_id)


def serialize_points(points: Sequence[SentPoint]) -> str:
    """The column `points`: [[key, value, ms, step], ...] as JSON, in which NaN is null."""
    if any(math.isinf(point[1]) for point in points):
        points = [point._replace(value=clamp_infinity(point.value)) for point in points]
    # As plain tuples: of named ones the writer looks at the class first, which takes seven times as long.
    return to_json([tuple(point) for point in points], inf_nan_mode="null").decode()


def serialize_sender(actor: Actor) -> str:
    """The column `sender`: what the audit trail says of whoever sent points. Without the request: one record is of many
    of them."""
    return to_json({**actor.as_record(), "address": actor.address}).decode()


def parse_sender(text: str) -> Actor:
    """Restore the actor that `serialize_sender` stored, for records only: it has no rights. Empty: the dispatcher."""
    if not text:
        return build_plane_actor(PlaneRole.DISPATCHER)
    sender = from_json(text)
    return Actor.from_record(sender, address=sender["address"])


def parse_points(text: str) -> list[Point]:
    """Parse what `serialize_points` wrote."""
    rows = from_json(text)
    moments = {
        at: convert_milliseconds(at) for at in {row[2] for row in rows}
    }  # few: a step's metrics are sent together
    return [Point(key, math.nan if value is None else value, step, moments[at]) for key, value, at, step in rows]


def clamp_infinity(value: float) -> float:
    """The largest number in the place of an infinity, as MLflow."""
    return math.copysign(float_info.max, value) if math.isinf(value) else value


def convert_milliseconds(at: int) -> datetime:
    """Milliseconds since 1970 as a time."""
    return EPOCH + timedelta(milliseconds=at)


def write_model_metrics(run_id: str, project_id: int, points: Sequence[ModelPoint]) -> None:
    """The newest values of logged models; in the caller's transaction."""
    model_ids = {point.model_id for point in points}
    models = LoggedModel.objects.filter(pk__in=model_ids, project_id=project_id, deleted_at__isnull=True)
    if lacking := model_ids - set(models.values_list("pk", flat=True)):
        raise Invalid(
            "There is no logged model {lacking}.", lacking=min(lacking)[:40], code="model_unknown", field="model_id"
        )
    rows = []
    for (key, value, at, step), model_id, dataset, digest in points:
        when = connection.ops.adapt_datetimefield_value(convert_milliseconds(at))
        rows.append(
            (model_id, run_id, key, *series.convert_for_storage(clamp_infinity(value)), step, when, dataset, digest)
        )
    with connection.cursor() as cursor:
        cursor.executemany(OF_MODEL, rows)


# -- checks ---------------------------------------------------------------------------------------------------------
def check_points(points: Sequence[SentPoint], *, listed: bool = False) -> None:
    for index, (key, _value, at, step) in enumerate(points):
        if len(key) > KEY_LIMIT or not PLAIN.fullmatch(key):
            check_key(key, f"metrics[{index}].name" if listed else "name", about="Metric name")
        if not EARLIEST <= at <= LATEST:
            where = f"metrics[{index}].timestamp" if listed else "timestamp"
            raise Invalid(
                "Invalid value {at} for parameter '{where}' supplied: it counts milliseconds since 1970.",
                at=at,
                where=where,
                field=where,
                limit=f"{EARLIEST}..{LATEST}",
            )
        if abs(step) > STEP_LIMIT:
            where = f"metrics[{index}].step" if listed else "step"
            raise Invalid(
                "Invalid value {step} for parameter '{where}' supplied: it is out of range.",
                step=step,
                where=where,
                field=where,
                limit=f"-{STEP_LIMIT}..{STEP_LIMIT}",
            )


def check_model_points(points: Sequence[ModelPoint]) -> None:
    for point in points:
        check_length(point.dataset_name, "dataset_name", DATASET_NAME_LIMIT)
        check_length(point.dataset_digest, "dataset_digest", DATASET_DIGEST_LIMIT)


def raise_closed_run_error(project_id: int, run_id: str) -> None:
    """Say why nothing may be recorded to this run; nothing when it may."""
    run = Run.objects.filter(pk=run_id, project_id=project_id).only("deleted_at", "job_id", "project_id").first()
    check_open(run, run_id)


def check_open(run: Run | None, run_id: str, *, actor: Actor | None = None, also_of_jobs: bool = False) -> None:
    """Raise for a run that is not there, is deleted, or is a job's: what a job measured nobody else may claim.

    `actor`: who writes it; the script of the job itself may.
    """
    also_of_jobs = also_of_jobs or (actor is not None and actor.run_id == run_id)
    if run is None:
        raise NotFound("Run with id={run_id} not found", run_id=run_id, field="run_id")
    if run.deleted_at is not None:
        raise Invalid(
            "The run {run_id} must be in the 'active' state. Current state is deleted.",
            run_id=run_id,
            code="run_deleted",
            field="run_id",
        )
    if run.job_id is not None and not also_of_jobs:
        raise Refused(
            "Run {run_id} is measured by job {job_id}; clients may only set its tags.",
            run_id=run_id,
            job_id=run.job_id,
            action="run.track",
            project_id=run.project_id,
            object_type="run",
            object_id=run_id,
        )
