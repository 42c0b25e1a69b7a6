"""Utilisation over time: what a heartbeat measured, its means, and how long either is kept.

A node leaves a measurement every 15 s for 24 hours (5,760 rows) and means of five minutes for 30 days (8,640 rows):
14,400 rows of a node at most, whatever it does. Pages of a day and more read the means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.request_values import MAX_INT32, parse_int
from apps.platform.nodes.models import Node, NodeSample
from deepseek.messages import N_, Message

SAMPLE_SECONDS = 15
MEAN_SECONDS = 300
RETENTION = {0: timedelta(hours=24), MEAN_SECONDS: timedelta(days=30)}
MAX_POINTS = 400  # of one answer
SETTLE_DELAY = timedelta(seconds=30)
"""A stretch gets its mean so long after its end: a sample that was begun in it is written by then."""
RECENT_WINDOW = timedelta(seconds=2 * MEAN_SECONDS)  # what ended so lately may not have its mean yet
MAX_INTERVALS_PER_ROUND = 24  # that one round gives means: a plane whose dispatcher slept catches up in steps
FIRST_YEAR = 1970  # before it there are no samples, and in the year 1 no hour before
MAX_ROWS_PER_DELETE = 5000  # rows that one round removes, for the same reason
MEAN_COLUMNS = (
    "cpu_share",
    "memory_used_bytes",
    "memory_total_bytes",
    "disk_used_bytes",
    "disk_total_bytes",
    "store_used_bytes",
    "store_total_bytes",
    "running_jobs",
)
GPU_MEAN_COLUMNS = ("busy", "memory_used_bytes", "memory_bytes", "temperature")


def get_database_now() -> datetime:
    """The database's clock: hosts may disagree, rows must not. One query; Node is only where it is asked."""
    rows = Node.objects.order_by().values_list(Now(), flat=True)[:1]
    return next(iter(rows), None) or datetime.now(UTC)


def floor_time(moment: datetime, seconds: int) -> datetime:
    """The beginning of the stretch of `seconds` in which `moment` lies."""
    timestamp = int(moment.timestamp())
    return datetime.fromtimestamp(timestamp - timestamp % seconds, UTC)


def build_sample_columns(load: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a sample, from what `hardware.measure_load` returns."""

    def compute_used(name: str) -> int | None:
        total, free = load.get(f"{name}_total_bytes"), load.get(f"{name}_free_bytes")
        return None if total is None or free is None else max(0, total - free)

    sizes = {f"{name}_used_bytes": compute_used(name) for name in ("memory", "disk", "store")}
    totals = {f"{name}_total_bytes": load.get(f"{name}_total_bytes") for name in ("memory", "disk", "store")}
    gpus = [
        {
            "index": gpu["index"],
            "busy": gpu.get("busy"),
            "memory_used_bytes": max(0, gpu["memory_bytes"] - gpu["memory_free_bytes"]),
            "memory_bytes": gpu["memory_bytes"],
            "temperature": gpu.get("temperature"),
        }
        for gpu in load.get("gpus", [])
        if "memory_bytes" in gpu
    ]
    return {"cpu_share": load.get("cpu_share"), **sizes, **totals, "gpus": gpus}


# -- means ----------------------------------------------------------------------------------------------------------
def add_means(model: type[models.Model], key: str, compute_means: Callable[[Sequence[Any]], dict[str, Any]]) -> int:
    """A mean for every stretch that has ended and has none; `key` is the column whose rows belong together.

    All rows of a stretch get theirs in one transaction, so the newest mean says how far this has come. Two that do it
    at once make the same rows, once.
    """
    rows = model._default_manager
    until, count = floor_time(get_database_now() - SETTLE_DELAY, MEAN_SECONDS), 0
    for _ in range(MAX_INTERVALS_PER_ROUND):
        done = rows.filter(span=MEAN_SECONDS).aggregate(at=models.Max("at"))["at"]
        ended = rows.filter(span=0, at__lt=until)
        if done is not None:
            ended = ended.filter(at__gte=done + timedelta(seconds=MEAN_SECONDS))
        first = ended.aggregate(at=models.Min("at"))["at"]
        if first is None:
            break
        at = floor_time(first, MEAN_SECONDS)
        rows_by_key: dict[Any, list[Any]] = {}
        for row in rows.filter(span=0, at__gte=at, at__lt=at + timedelta(seconds=MEAN_SECONDS)).order_by("at"):
            rows_by_key.setdefault(getattr(row, key), []).append(row)
        means = [
            model(**{key: value}, span=MEAN_SECONDS, at=at, **compute_means(few)) for value, few in rows_by_key.items()
        ]
        with transaction.atomic():
            rows.bulk_create(means, ignore_conflicts=True)
        count += len(means)
    return count


def delete_expired(model: type[models.Model]) -> int:
    """Remove what is older than it is kept; returns how many rows."""
    now, gone = get_database_now(), 0
    for span, keep in RETENTION.items():
        old = (
            model._default_manager.filter(span=span, at__lt=now - keep)
            .order_by("at")
            .values("pk")[:MAX_ROWS_PER_DELETE]
        )
        keys = list(old.values_list("pk", flat=True))
        if keys:  # a look takes no lock, a delete on SQLite does
            gone += model._default_manager.filter(pk__in=keys).delete()[0]
    return gone


def compute_node_means(rows: Sequence[NodeSample]) -> dict[str, Any]:
    """The columns of a mean; a column that no row knows stays null."""
    columns: dict[str, Any] = {
        name: compute_mean([getattr(row, name) for row in rows], as_integer="bytes" in name) for name in MEAN_COLUMNS
    }
    cards: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        for gpu in row.gpus:
            cards.setdefault(gpu["index"], []).append(gpu)
    columns["gpus"] = [
        {
            "index": index,
            **{
                name: compute_mean([gpu.get(name) for gpu in readings], as_integer="bytes" in name)
                for name in GPU_MEAN_COLUMNS
            },
        }
        for index, readings in sorted(cards.items())
    ]
    return columns


def compute_mean(values: Iterable[float | None], *, as_integer: bool = False) -> float | int | None:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    result = sum(numbers) / len(numbers)
    return round(result) if as_integer else round(result, 4)


# -- reading --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A stretch of time and the step of its points, in seconds."""

    start: datetime
    end: datetime
    step: int

    @property
    def span(self) -> int:
        """Which rows answer: means as soon as they are fine enough, or the measurements are gone."""
        return MEAN_SECONDS if self.step >= MEAN_SECONDS or self.start < self.end - RETENTION[0] else 0

    @property
    def rows(self) -> models.Q:
        """Which rows these are; beside the means the newest measurements, which have none yet."""
        filters = models.Q(span=self.span, at__gte=self.start, at__lte=self.end)
        if self.span:
            filters |= models.Q(span=0, at__gte=max(self.start, self.end - RECENT_WINDOW), at__lte=self.end)
        return filters


def parse_time_window(params: Mapping[str, Any]) -> TimeWindow:
    """`from`, `to` (ISO 8601 with a zone) and `step` (seconds) of a query; the last hour where they are left out.

    Raises Invalid: naming the field for nonsense, and `step` where it would make more than MAX_POINTS points.
    """
    now = get_database_now()
    end = parse_time("to", params.get("to"), now)
    start = parse_time("from", params.get("from"), end - timedelta(hours=1))
    seconds = (end - start).total_seconds()
    if seconds <= 0 or start < now - RETENTION[MEAN_SECONDS] - timedelta(days=1):
        hint = Message("Samples are kept for {days} days.", days=RETENTION[MEAN_SECONDS].days)
        raise Invalid("from must lie before to, in the time that is kept.", field="from", limit="30 days", hint=hint)
    least = max(SAMPLE_SECONDS, -(-int(seconds) // MAX_POINTS))
    step = parse_seconds("step", params.get("step"), default=round_up_step(least))
    if not least <= step <= 86_400:
        limit = f"{least}..86400"
        raise Invalid(
            "step is {step} s.",
            step=step,
            field="step",
            limit=limit,
            hint=Message("At most {max_points} points are told.", max_points=MAX_POINTS),
        )
    return TimeWindow(start, end, step)


def round_up_step(least: int) -> int:
    """A round number of seconds that is not below `least`."""
    return next((size for size in (15, 30, 60, 300, 900, 1800, 3600, 7200) if size >= least), least)


def parse_time(field: str, text: Any, default: datetime) -> datetime:
    if not text:
        return default
    try:
        time = datetime.fromisoformat(str(text)[:40])
        if time.tzinfo is None:
            raise ValueError("no zone")
        time = time.astimezone(UTC)
        if time.year < FIRST_YEAR:
            raise ValueError("before there were samples")
        return time
    except (ValueError, OverflowError):
        limit = "ISO 8601 with a zone"
        hint = Message("For instance 2026-01-31T12:00:00Z.")
        raise Invalid(
            "{name} is {text!r}.", name=field, text=str(text)[:40], field=field, limit=limit, hint=hint
        ) from None


def parse_seconds(field: str, text: Any, *, default: int) -> int:
    if not text:
        return default
    if (seconds := parse_int(str(text), 0, MAX_INT32)) is not None:
        return seconds
    raise Invalid(
        "{name} is {text!r}.",
        name=field,
        text=str(text)[:40],
        field=field,
        limit="seconds, whole",
        hint=N_("Send a whole number."),
    )


def build_points(
    rows: Iterable[Any], window: TimeWindow, compute_means: Callable[[Sequence[Any]], dict[str, Any]]
) -> list[Any]:
    """[(beginning, columns)] of `rows` of one node or queue, ordered by time: means over each step that has any."""
    rows_by_start: dict[datetime, list[Any]] = {}
    for row in rows:
        rows_by_start.setdefault(floor_time(row.at, window.step), []).append(row)
    return [(at, compute_means(few)) for at, few in rows_by_start.items()]


def get_node_samples(actor: Actor, node: Node, window: TimeWindow) -> list[tuple[datetime, dict[str, Any]]]:
    """What `node` did in the time asked for; at most MAX_POINTS points, from at most 5,760 rows. One query."""
    policy.require(actor, "node.view")
    rows = NodeSample.objects.filter(window.rows, node=node).order_by("at")
    return build_points(rows.iterator(chunk_size=2000), window, compute_node_means)
