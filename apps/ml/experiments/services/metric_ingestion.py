"""Ingest the batches that clients sent (MetricBatch) into Metric, its points and its buckets.

The dispatcher does it every second, and whoever reads a run does it before, so that a reader sees what was written.
A run is folded by one process at a time, under the lock of its row: its batches are folded and deleted in the same
transaction, so each counts once, whoever dies when.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from apps.core.actors import Actor
from apps.core.db import fast_sql
from apps.core.policy import require
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import Metric, MetricBatch, MetricPoint, Run
from apps.ml.experiments.services.metrics import parse_points, parse_sender
from apps.ml.experiments.services.points import MAX_POINTS_PER_BATCH, SUMMARY_COLUMNS, add_buckets, add_points
from apps.ml.experiments.states import ENDED
from apps.platform.audit.services import record

log = logging.getLogger(__name__)

SLICE = 500  # batches in one transaction: what others wait for
SLICE_POINTS = 20_000  # likewise, unless one batch has more
SECONDS = 2.0  # that a reader folds, at most: what is left by then the dispatcher takes in
ROUND_SECONDS = 5.0  # of the dispatcher
FOLDED = [*SUMMARY_COLUMNS, "count", "digest", "open_buckets"]


def ingest_batches(*, run_ids: Collection[str] = (), experiment_ids: Collection[int] = ()) -> None:
    """Fold what these runs, or those of these experiments, had been sent when this began. One query where nothing was.

    It needs no right: what was taken down is true already, and only those read it who may.
    """
    if len(run_ids) == 1 and not fast_sql.select(MetricBatch, ("id",), limit=1, run_id=next(iter(run_ids))):
        return
    mine = Q(run_id__in=run_ids) if run_ids else Q(experiment_id__in=experiment_ids)
    # What was sent to runs that have gone since is nobody's to fold: the dispatcher throws it away.
    waiting = MetricBatch.objects.filter(mine).filter(Exists(Run.objects.filter(pk=OuterRef("run_id"))))
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        head = list(waiting.order_by("id").values_list("run_id", flat=True)[:SLICE])
        if not head or (not fold_slice(set(head), wait=True).is_full and len(head) < SLICE):
            return  # whatever waited when this began is folded, by this reader or by who held the run meanwhile


def ingest_all_batches(*, actor: Actor) -> int:
    """Fold what anybody sent, oldest first, for some seconds at most; how many batches. For the dispatcher."""
    require(actor, "run.take_in")
    until = time.monotonic() + ROUND_SECONDS
    folded = 0
    while time.monotonic() < until:
        head = list(MetricBatch.objects.order_by("id").values_list("run_id", flat=True)[:SLICE])
        if not head:
            break
        done = fold_slice(set(head), wait=False)
        folded += done.batches
        more_waits = done.is_full or (len(head) == SLICE and done.batches)  # others hold a part of the head, perhaps
        # What came meanwhile is the next round's: a few would cost as much as five hundred.
        if not more_waits and not delete_orphan_batches(set(head)):
            break
    return folded


def delete_orphan_batches(run_ids: Collection[str]) -> int:
    """Delete what was sent to runs that have gone since: those were deleted for good while the client still sent."""
    gone = set(run_ids) - set(Run.objects.filter(pk__in=run_ids).values_list("pk", flat=True))
    return MetricBatch.objects.filter(run_id__in=gone).delete()[0] if gone else 0


class Slice(NamedTuple):
    """What one transaction folded; `is_full`: as much as one may, so that more of the same runs may wait."""

    batches: int
    is_full: bool


def fold_slice(run_ids: Iterable[str], *, wait: bool) -> Slice:
    """Fold the oldest batches of these runs. Without `wait` runs that others fold now are left to them."""
    with transaction.atomic():
        # In one order, so that two who fold several runs do not wait for each other.
        locked = Run.objects.select_for_update(no_key=True, skip_locked=not wait, of=("self",)).order_by("id")
        columns = ("id", "project_id", "experiment_id", "started_at", "state")
        runs = {run.pk: run for run in locked.filter(pk__in=run_ids).only(*columns)}
        batches = MetricBatch.objects.filter(run_id__in=runs).order_by("id")
        done: list[int] = []
        sent: dict[tuple[str, str], list[Point]] = defaultdict(list)  # of a metric: its run and key
        count, is_full = 0, False
        senders: dict[str, dict[str, None]] = defaultdict(dict)  # in the order in which they sent
        for pk, run_id, text, sender in batches.values_list("id", "run_id", "points", "sender")[:SLICE]:
            points = parse_points(text)
            if done and count + len(points) > SLICE_POINTS:
                is_full = True
                break
            done.append(pk)
            count += len(points)
            senders[run_id][sender] = None
            for point in points:
                sent[run_id, point.key].append(point)
        if done:
            for run in fold_metrics(runs, sent):
                seal_again(run, senders[run.pk])
            MetricBatch.objects.filter(pk__in=done).delete()
    return Slice(len(done), is_full or len(done) == SLICE)


def fold_metrics(runs: dict[str, Run], sent: dict[tuple[str, str], list[Point]]) -> list[Run]:
    """Take points of runs whose rows are locked into their metrics; the runs that had ended and have more points now.

    `sent`: (run, key) -> its points in the order they came. Eight queries, however many runs and metrics.
    """
    stored_metrics = Metric.objects.filter(
        run_id__in={run_id for run_id, _key in sent}, key__in={key for _run_id, key in sent}
    )
    metrics = {(metric.run_id, metric.key): metric for metric in stored_metrics}
    fresh = exclude_repeats(metrics, sent)
    filled = []
    for (run_id, key), points in fresh.items():
        metric = metrics.get((run_id, key))
        if metric is None:
            run = runs[run_id]
            metric = metrics[run_id, key] = Metric(
                run=run, project_id=run.project_id, experiment_id=run.experiment_id, started_at=run.started_at, key=key
            )
            series.reset_metric(metric)
        filled += [(metric, full) for full in series.fold_points(metric, points)]
    touched = [metrics[name] for name in fresh]
    if not touched:
        return []
    Metric.objects.bulk_create(
        touched,
        update_conflicts=True,
        unique_fields=["run", "key"],
        update_fields=FOLDED,
        batch_size=MAX_POINTS_PER_BATCH,
    )
    add_points((metrics[name], points) for name, points in fresh.items())
    add_buckets(filled)
    return [runs[run_id] for run_id in sorted({run_id for run_id, _key in fresh}) if runs[run_id].state in ENDED]


def exclude_repeats(
    metrics: dict[tuple[str, str], Metric], sent: dict[tuple[str, str], list[Point]]
) -> dict[tuple[str, str], list[Point]]:
    """The points that are not there yet: the same time, step and value again is no other point, as in MLflow.

    Only those that do not lie behind the newest of their metric can be: a loop that goes on asks nothing.
    """
    doubtful: dict[int, list[Point]] = {}
    unordered = set()
    for name, points in sent.items():
        metric = metrics.get(name)
        newest = (metric.step, metric.at) if metric is not None and metric.count else None
        if is_continuation(newest, points):
            continue
        unordered.add(name)
        if metric is not None and newest and (old := [point for point in points if (point.step, point.at) <= newest]):
            doubtful[metric.pk] = old
    known_points = load_points_at(doubtful)
    fresh = {}
    for name, points in sent.items():
        metric = metrics.get(name)
        existing = known_points.get(metric.pk, set()) if metric is not None else set()
        if fresh_points := drop_repeats(points, existing) if name in unordered else points:
            fresh[name] = fresh_points
    return fresh


def is_continuation(newest: tuple[int, datetime] | None, points: Sequence[Point]) -> bool:
    """Whether each point lies behind the one before it, and the first behind the newest that is there."""
    for _key, _value, step, at in points:
        position = (step, at)
        if newest is not None and position <= newest:
            return False
        newest = position
    return True


def drop_repeats(points: Sequence[Point], existing: set[tuple[object, ...]]) -> list[Point]:
    """Those that are not `there`, each once."""
    seen_points, fresh_points = set(existing), []
    for point in points:
        same = get_point_identity(point.step, point.at, *series.convert_for_storage(point.value))
        if same not in seen_points:
            seen_points.add(same)
            fresh_points.append(point)
    return fresh_points


def load_points_at(doubtful: dict[int, list[Point]]) -> dict[int, set[tuple[object, ...]]]:
    """Of these metrics, the points that stand at the times and steps of these."""
    if not doubtful:
        return {}
    times = {point.at for points in doubtful.values() for point in points}
    steps = {point.step for points in doubtful.values() for point in points}
    by_metric: dict[int, set[tuple[object, ...]]] = defaultdict(set)
    ordered = sorted(times)
    for start in range(0, len(ordered), MAX_POINTS_PER_BATCH):
        rows = MetricPoint.objects.filter(
            metric_id__in=doubtful,
            at__in=ordered[start : start + MAX_POINTS_PER_BATCH],
            step__gte=min(steps),
            step__lte=max(steps),
        )
        for metric_id, step, at, value, is_nan in rows.values_list("metric_id", "step", "at", "value", "is_nan"):
            by_metric[metric_id].add(get_point_identity(step, at, value, is_nan))
    return by_metric


def get_point_identity(step: int, at: object, value: float, is_nan: bool) -> tuple[object, ...]:
    return step, at, 0.0 if is_nan else value, is_nan


def seal_again(run: Run, senders: Iterable[str]) -> None:
    """A run that has ended was sent more: its digest, and a record for each who sent, whoever folds it now."""
    metrics = list(Metric.objects.filter(run=run).only("key", "count", "digest"))
    digest, count = series.compute_run_digest(metrics), series.count_run_points(metrics)
    Run.objects.filter(pk=run.pk).update(metrics_digest=digest, metrics_count=count)
    for sender in senders:
        record(
            actor=parse_sender(sender),
            action="run.amend",
            obj=run,
            after={"metrics_count": count},
            digests={"metrics": digest},
        )
