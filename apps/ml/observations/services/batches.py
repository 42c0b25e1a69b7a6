"""What both kinds of batches share: times that are refused, rows that came before, figures that grow, rows that land.

A batch is one transaction under the lock of its source. All figures are sums over rows that are counted once, so the
order in which batches come changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Model
from django.db.models.functions import Greatest

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.db.fast_sql import fetch
from apps.core.errors import Conflict, Invalid
from apps.ml.observations.models import HourFigures, Landing, ObservationSource, PartKind
from apps.ml.observations.schemas import EPOCH, count_microseconds
from apps.ml.observations.scoring import Increment, find_value_problem
from apps.platform.audit.services import record
from apps.platform.jobs.spec_validation import MAX_ERRORS, combine_errors
from deepseek.messages import Message

MAX_AHEAD = timedelta(minutes=5)  # of a sender's clock
MAX_AGE = timedelta(days=366)  # of a row, where a source keeps everything
MAX_CLASSES = 1_000  # of one source
HOUR = timedelta(hours=1)
HOUR_MICROSECONDS = 3_600_000_000
ADD_CLASS_COUNTS = """
    INSERT INTO observations_classcount AS counts (figures_id, name, predicted, labelled, correct)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (figures_id, name) DO UPDATE SET predicted = counts.predicted + excluded.predicted,
        labelled = counts.labelled + excluded.labelled, correct = counts.correct + excluded.correct
"""

GroupKey = tuple[int, str, bool, datetime]
"""(model version, variant, is_shadow, hour): what one row of figures is of"""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of the rows of a batch. `waiting`: stored labels whose prediction has not come yet."""

    received: int
    stored: int
    duplicates: int
    sampled_out: int
    waiting: int = 0


def floor_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def build_row_error(code: str, place: int, name: str, message: str, limit: Any, hint: Message) -> dict[str, Any]:
    return {
        "code": code,
        "message": message,
        "field": f"/rows/{place}/{name}",
        "limit": limit,
        "hint": hint,
    }


def find_oldest_time(source: ObservationSource, now: datetime) -> datetime:
    """Rows before it are not taken: what they would be counted with may be gone."""
    age = MAX_AGE if source.retention_days is None else min(MAX_AGE, timedelta(days=source.retention_days))
    oldest = floor_hour(now - age)
    return max(oldest, source.purged_before) if source.purged_before else oldest


def check_times(source: ObservationSource, times: Sequence[int], now: datetime) -> list[dict[str, Any]]:
    """Errors of rows whose time, in microseconds, lies ahead of the plane's clock, or before what is still kept."""
    newest, oldest = now + MAX_AHEAD, find_oldest_time(source, now)
    if count_microseconds(oldest) <= min(times) and max(times) <= count_microseconds(newest):
        return []
    errors = []
    for place, microseconds in enumerate(times):
        at = EPOCH + timedelta(microseconds=microseconds)
        if at > newest:
            message = Message("{at} is ahead of the plane's clock, {now}.", at=at.isoformat(), now=now.isoformat())
            limit = f"{int(MAX_AHEAD.total_seconds())} seconds ahead"
            hint = Message("Set the sender's clock.")
            errors.append(build_row_error("time_ahead", place, "at", message, limit, hint))
        elif at < oldest:
            message = Message("{at} is older than what {source} keeps.", at=at.isoformat(), source=source.name)
            hint = Message("Leave the row out, or let the source keep rows for longer.")
            errors.append(build_row_error("too_old", place, "at", message, oldest.isoformat(), hint))
    return errors


def check_values(source: ObservationSource, name: str, values: Iterable[Any]) -> list[dict[str, Any]]:
    """Errors of answers or labels that are none of the source's task."""
    errors, task = [], source.task
    for place, value in enumerate(values):
        if rule := find_value_problem(task, value):
            message = Message("The {name} is none that {task} has.", name=name, task=task)
            hint = Message("Send such a value, or create a source of another task.")
            errors.append(build_row_error("bad_value", place, name, message, rule, hint))
    return errors


def raise_errors(errors: Sequence[dict[str, Any]]) -> None:
    if errors:
        raise combine_errors(errors[:MAX_ERRORS])


def raise_conflicts(places: Sequence[tuple[int, str]]) -> None:
    """Raise Conflict naming each row whose id came before with other content."""
    if not places:
        return
    errors = [
        build_row_error(
            "observation_conflict",
            place,
            "id",
            Message("The id {key!r} came before with other content.", key=key),
            None,
            Message("Give it an id of its own, or leave it out: what was counted is not changed."),
        )
        for place, key in places[:MAX_ERRORS]
    ]
    first = errors[0]
    raise Conflict(first["message"], code=first["code"], field=first["field"], hint=first["hint"], errors=errors)


def keep_classes(source: ObservationSource, names: set[str]) -> None:
    """Remember the classes of a source. Raises Invalid for more than MAX_CLASSES: these are no classes."""
    existing = set(source.classes)
    if names <= existing:
        return
    if len(existing | names) > MAX_CLASSES:
        raise Invalid(
            "{source} has {known} classes, and {count} more come with this batch.",
            source=source.name,
            known=len(existing),
            count=len(names - existing),
            code="too_many_source_classes",
            field="/rows",
            limit=MAX_CLASSES,
            hint=Message("Create a source of the task other, which counts no classes."),
        )
    ObservationSource.objects.filter(pk=source.pk).update(classes=sorted(existing | names))


def load_figures(source: ObservationSource, groups: Iterable[GroupKey]) -> dict[GroupKey, HourFigures]:
    """The rows of figures of these groups; those that are not there are made."""
    expected = set(groups)
    rows = HourFigures.objects.filter(source=source, hour__in={hour for *_, hour in expected})
    by_key = {get_group(row): row for row in rows}
    missing = [
        HourFigures(source=source, version_id=version, variant=variant, is_shadow=is_shadow, hour=hour)
        for version, variant, is_shadow, hour in sorted(expected - set(by_key))
    ]
    for row in HourFigures.objects.bulk_create(missing):
        by_key[get_group(row)] = row
    return by_key


def get_group(figures: HourFigures) -> GroupKey:
    return figures.version_id, figures.variant, figures.is_shadow, figures.hour


def add_increments(increments: Mapping[int, Increment]) -> None:
    """Add to rows of figures by their keys, and to the counts of their classes."""
    for pk, increment in increments.items():
        sums = {
            name: F(name) + value
            for name in Increment.__slots__
            if name not in ("classes", "latency_us_max") and (value := getattr(increment, name))
        }
        if increment.latency_us_max:
            sums["latency_us_max"] = Greatest(F("latency_us_max"), increment.latency_us_max)
        if sums:
            HourFigures.objects.filter(pk=pk).update(**sums)
    rows: list[tuple[Any, ...]] = [
        (pk, name, *tally) for pk, increment in sorted(increments.items()) for name, tally in increment.classes.items()
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(ADD_CLASS_COUNTS, rows)


def land_rows(
    source: ObservationSource, kind: PartKind, rows: Mapping[datetime, Sequence[Sequence[Any]]], now: datetime
) -> None:
    """Keep rows by hour until a part holds them. Each is the cells of its columns in deepseek.observations.spec."""
    Landing.objects.bulk_create(build_landing(source, kind, hour, cells, now) for hour, cells in sorted(rows.items()))


def build_landing(
    source: ObservationSource, kind: PartKind, hour: datetime, rows: Sequence[Sequence[Any]], now: datetime
) -> Landing:
    """One line of JSON: the list of each column. A text of thousands of cells takes a fifth of those of each row."""
    payload = json.dumps(list(zip(*rows, strict=True)), ensure_ascii=False, separators=(",", ":")) + "\n"
    return Landing(
        source=source, hour=hour, kind=kind, rows=len(rows), size=len(payload), payload=payload, received_at=now
    )


def record_batch(
    actor: Actor,
    source: ObservationSource,
    action: str,
    result: BatchResult,
    fingerprints: Iterable[str],
    now: datetime,
) -> None:
    """One record of a batch that has stored something: how many rows, and the digest of all of their digests."""
    ObservationSource.objects.filter(pk=source.pk).update(received_at=now)
    if not result.stored:
        return
    after = {name: getattr(result, name) for name in ("received", "stored", "duplicates", "sampled_out")}
    digest = sha256_hex("".join(f"{fingerprint}\n" for fingerprint in fingerprints))
    record(actor=actor, action=action, obj=source, after=after, digests={"rows": digest})


def drop_repeats(
    keys: Sequence[Any], ids: Sequence[str], fingerprints: Sequence[str]
) -> tuple[dict[Any, int], int, list[tuple[int, str]]]:
    """({key: place of its first row}, how many rows repeat one, places of those that contradict one)."""
    first: dict[Any, int] = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    repeats, conflicts = 0, []
    if len(first) < len(keys):
        for place, key in enumerate(keys):
            before = first[key]
            if before == place:
                continue
            if fingerprints[before] == fingerprints[place]:
                repeats += 1
            else:
                conflicts.append((place, ids[place]))
    return {key: first[key] for key in dict.fromkeys(keys)}, repeats, conflicts


def select_by_key(
    model: type[Model], source: ObservationSource, keys: Iterable[str], columns: str
) -> list[tuple[Any, ...]]:
    """`columns` of the rows of these ids, oldest first. The ids are one parameter: thousands would be planned anew.

    PostgreSQL looks each id up by itself. Left to choose it may read all rows of the source and compare each with
    every id, and does so as long as its statistics are those of a table that was small: seconds for a batch.
    """
    is_postgres = connection.vendor == "postgresql"
    parameter: Any = list(keys) if is_postgres else json.dumps(list(keys))
    return fetch(build_key_query(model._meta.db_table, columns, is_postgres=is_postgres), [parameter, source.pk])


def build_key_query(table: str, columns: str, *, is_postgres: bool) -> str:
    """Of the ids, as an array or as JSON, and the source."""
    if not is_postgres:
        chosen = "key IN (SELECT value FROM json_each(%s))"
        return f"SELECT {columns} FROM {table} WHERE {chosen} AND source_id = %s ORDER BY id"  # noqa: S608 - own names
    stored = f"SELECT * FROM {table} WHERE key = batch.key AND source_id = %s OFFSET 0"  # noqa: S608 - likewise
    return f"""
        SELECT {", ".join(f"stored.{name}" for name in columns.split(", "))} FROM unnest(%s::text[]) AS batch (key)
        CROSS JOIN LATERAL ({stored}) AS stored ORDER BY stored.id
    """  # noqa: S608
