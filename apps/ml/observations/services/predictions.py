"""Predictions that come in: counted once whatever comes twice, and compared with labels that came before them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.db.fast_sql import insert_many
from apps.core.policy import require
from apps.ml.observations.models import HourFigures, Label, ObservationSource, PartKind, Prediction, Task
from apps.ml.observations.sampling import is_sampled
from apps.ml.observations.schemas import (
    EPOCH,
    PredictionRow,
    compute_fingerprint,
    count_microseconds,
    encode_value,
    is_same_row,
)
from apps.ml.observations.scoring import Increment, get_class_name
from apps.ml.observations.services import batches
from apps.ml.observations.services.batches import HOUR, HOUR_MICROSECONDS, BatchResult, build_row_error
from apps.ml.observations.services.sources import lock_source
from apps.ml.registry.models import ModelVersion
from deepseek.messages import Message


@dataclass(frozen=True, slots=True)
class PreparedPredictions:
    """What is computed of a batch before its source is locked, by place: other batches need not wait for it."""

    rows: Sequence[PredictionRow]
    ids: list[str]
    times: list[int]  # microseconds since 1970
    fingerprints: list[str]
    answers: list[str]  # JSON
    cells: list[tuple[Any, ...]]  # the columns of deepseek.observations.spec.PREDICTION_COLUMNS


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction that came in an earlier batch."""

    key: str
    is_shadow: bool
    fingerprint: str
    hour: datetime


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """A label that came in an earlier batch; `value` is JSON."""

    pk: int
    key: str
    value: str
    at: int


def record_predictions(*, actor: Actor, source: ObservationSource, rows: Sequence[PredictionRow]) -> BatchResult:
    """Take a batch of predictions, all or none. A row that came before counts once.

    Raises Invalid with the errors of each row, Conflict with each row whose id came before with other content.
    """
    require(actor, "observation.record", source)
    now = timezone.now()
    batch = prepare_predictions(rows)
    with transaction.atomic():
        locked = lock_source(source)
        versions = resolve_versions(locked, rows)
        batches.raise_errors(
            [
                *batches.check_times(locked, batch.times, now),
                *batches.check_values(locked, "answer", [row.answer for row in rows]),
                *find_unknown_versions(versions, rows),
            ]
        )
        keys = [(row.id, row.shadow) for row in rows]
        first, repeats, conflicts = batches.drop_repeats(keys, batch.ids, batch.fingerprints)
        existing = load_stored_predictions(locked, batch.ids)
        labels = load_stored_labels(locked, batch.ids)
        new: list[int] = []
        duplicates, sampled_out = repeats, 0
        for (key, is_shadow), place in first.items():
            existing_rows = existing.get(key)
            before = existing_rows.get(is_shadow) if existing_rows else None
            if before is not None:
                facts = batch.rows[place].list_facts(batch.times[place])
                if is_same_row(before.fingerprint, batch.fingerprints[place], facts):
                    duplicates += 1
                else:
                    conflicts.append((place, key))
            elif key in labels or existing_rows or is_sampled(key, locked.sampling_rate):
                new.append(place)
            else:
                sampled_out += 1
        batches.raise_conflicts(sorted(conflicts))
        store_predictions(locked, batch, new, versions, labels, existing, now)
        result = BatchResult(len(rows), len(new), duplicates, sampled_out)
        stored = (batch.fingerprints[place] for place in new)
        batches.record_batch(actor, locked, "observation.record_predictions", result, stored, now)
    return result


def prepare_predictions(rows: Sequence[PredictionRow]) -> PreparedPredictions:
    times = [count_microseconds(row.at) for row in rows]
    answers = [encode_value(row.answer) for row in rows]
    cells = [
        (
            row.id,
            at,
            row.model,
            row.version,
            row.variant,
            row.shadow,
            answer,
            None if row.features is None else encode_value(row.features),
            row.features_digest,
            row.latency_ms,
        )
        for row, at, answer in zip(rows, times, answers, strict=True)
    ]
    fingerprints = [compute_fingerprint(row.list_facts(at)) for row, at in zip(rows, times, strict=True)]
    return PreparedPredictions(rows, [row.id for row in rows], times, fingerprints, answers, cells)


def resolve_versions(source: ObservationSource, rows: Sequence[PredictionRow]) -> dict[tuple[str, int], int]:
    """{(model, number): key} of the versions that the rows name. One query."""
    expected = {(row.model, row.version) for row in rows}
    matches = ModelVersion.objects.filter(
        model__project=source.project_id,
        model__deleted_at=None,
        model__name__in={name for name, _ in expected},
        number__in={number for _, number in expected},
    )
    return {(name, number): pk for name, number, pk in matches.values_list("model__name", "number", "pk")}


def find_unknown_versions(versions: dict[tuple[str, int], int], rows: Sequence[PredictionRow]) -> list[dict[str, Any]]:
    if versions.keys() >= {(row.model, row.version) for row in rows}:
        return []
    return [
        build_row_error(
            code="version_unknown",
            place=place,
            name="version",
            message=Message(
                "The project has no version {version} of a model {model!r}.", version=row.version, model=row.model
            ),
            limit=None,
            hint=Message("Name a version that is registered in this project."),
        )
        for place, row in enumerate(rows)
        if (row.model, row.version) not in versions
    ]


def load_stored_predictions(source: ObservationSource, keys: Iterable[str]) -> dict[str, dict[bool, StoredPrediction]]:
    """{id: {is_shadow: its prediction}} of those that are there."""
    existing: dict[str, dict[bool, StoredPrediction]] = defaultdict(dict)
    columns = "key, is_shadow, fingerprint, figures_id"
    rows = batches.select_by_key(Prediction, source, keys, columns)
    hours = dict(HourFigures.objects.filter(pk__in={row[3] for row in rows}).values_list("pk", "hour")) if rows else {}
    for key, is_shadow, fingerprint, figures in rows:
        existing[key][bool(is_shadow)] = StoredPrediction(key, bool(is_shadow), fingerprint, hours[figures])
    return dict(existing)


def load_stored_labels(source: ObservationSource, keys: Iterable[str]) -> dict[str, StoredLabel]:
    rows = batches.select_by_key(Label, source, keys, "id")
    labels = Label.objects.filter(pk__in=[pk for (pk,) in rows]) if rows else []
    return {label.key: StoredLabel(label.pk, label.key, label.value, count_microseconds(label.at)) for label in labels}


def store_predictions(
    source: ObservationSource,
    batch: PreparedPredictions,
    new: Sequence[int],
    versions: dict[tuple[str, int], int],
    labels: dict[str, StoredLabel],
    known: dict[str, dict[bool, StoredPrediction]],
    now: datetime,
) -> None:
    """Rows, figures and landed cells of the new predictions, and of the labels that waited for them."""
    hours = {number: EPOCH + number * HOUR for number in {batch.times[place] // HOUR_MICROSECONDS for place in new}}
    groups = {
        place: (
            versions[row.model, row.version],
            row.variant,
            row.shadow,
            hours[batch.times[place] // HOUR_MICROSECONDS],
        )
        for place, row in ((place, batch.rows[place]) for place in new)
    }
    figures = batches.load_figures(source, set(groups.values()))
    increments: dict[int, Increment] = defaultdict(Increment)
    cells: dict[datetime, list[tuple[Any, ...]]] = defaultdict(list)
    label_cells: dict[datetime, list[tuple[Any, ...]]] = defaultdict(list)
    landed = {(key, row.hour) for key, both in known.items() for row in both.values()}
    is_compared, task = source.task != Task.OTHER, source.task
    predictions = []
    for place in new:
        row, group = batch.rows[place], figures[groups[place]]
        increment = increments[group.pk]
        increment.add_prediction(task, row.answer, row.latency_ms)
        cells[group.hour].append(batch.cells[place])
        if labels and (label := labels.get(row.id)) is not None:
            increment.add_label(task, row.answer, json.loads(label.value))
            if (row.id, group.hour) not in landed:
                label_cells[group.hour].append((label.key, label.at, label.value))
                landed.add((row.id, group.hour))
        answer = batch.answers[place] if is_compared else ""
        predictions.append((source.pk, row.id, row.shadow, group.pk, answer, batch.fingerprints[place]))
    if task == Task.CLASSIFICATION:
        batches.keep_classes(source, {get_class_name(batch.rows[place].answer) for place in new})
    columns = ("source_id", "key", "is_shadow", "figures_id", "answer", "fingerprint")
    insert_many(Prediction, columns, predictions)
    waited = [labels[batch.ids[place]].pk for place in new if batch.ids[place] in labels]
    if waited:
        Label.objects.filter(pk__in=waited, joined=False).update(joined=True)
    batches.add_increments(increments)
    batches.land_rows(source, PartKind.PREDICTIONS, cells, now)
    batches.land_rows(source, PartKind.LABELS, label_cells, now)
