"""Labels that come in: compared with their prediction where it is there, else kept until it comes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.db.fast_sql import insert_many
from apps.core.policy import require
from apps.ml.observations.models import HourFigures, Label, ObservationSource, PartKind, Prediction, Task
from apps.ml.observations.sampling import is_sampled
from apps.ml.observations.schemas import LabelRow, compute_fingerprint, count_microseconds, encode_value, is_same_row
from apps.ml.observations.scoring import Increment, get_class_name
from apps.ml.observations.services import batches
from apps.ml.observations.services.batches import BatchResult
from apps.ml.observations.services.sources import lock_source


class Answer(NamedTuple):
    """The answer of a prediction that is there: the figures that it counts in, and its JSON, "" if none is kept."""

    figures: int
    value: str


def record_labels(*, actor: Actor, source: ObservationSource, rows: Sequence[LabelRow]) -> BatchResult:
    """Take a batch of labels, all or none. One that came before counts once; one whose prediction has not come waits.

    A label counts in the hour of its prediction, however late it is. Raises as record_predictions does.
    """
    require(actor, "observation.record", source)
    now = timezone.now()
    ids = [row.id for row in rows]
    times = [count_microseconds(row.at) for row in rows]
    fingerprints = [compute_fingerprint(row.list_facts(at)) for row, at in zip(rows, times, strict=True)]
    with transaction.atomic():
        locked = lock_source(source)
        batches.raise_errors(
            [
                *batches.check_times(locked, times, now),
                *batches.check_values(locked, "label", (row.label for row in rows)),
            ]
        )
        first, repeats, conflicts = batches.drop_repeats(ids, ids, fingerprints)
        existing = dict(batches.select_by_key(Label, locked, first, "key, fingerprint"))
        predictions: dict[str, list[Answer]] = defaultdict(list)
        columns = "key, figures_id, answer"
        for key, *answer in batches.select_by_key(Prediction, locked, first.keys() - existing.keys(), columns):
            predictions[key].append(Answer(*answer))
        new: list[int] = []
        duplicates, sampled_out = repeats, 0
        for key, place in first.items():
            before = existing.get(key)
            if before is not None:
                if is_same_row(before, fingerprints[place], rows[place].list_facts(times[place])):
                    duplicates += 1
                else:
                    conflicts.append((place, key))
            elif key in predictions or is_sampled(key, locked.sampling_rate):
                new.append(place)
            else:
                sampled_out += 1
        batches.raise_conflicts(sorted(conflicts))
        store_labels(locked, rows, times, fingerprints, new, predictions, now)
        waiting = sum(rows[place].id not in predictions for place in new)
        result = BatchResult(len(rows), len(new), duplicates, sampled_out, waiting)
        batches.record_batch(
            actor, locked, "observation.record_labels", result, (fingerprints[place] for place in new), now
        )
    return result


def store_labels(
    source: ObservationSource,
    rows: Sequence[LabelRow],
    times: Sequence[int],
    fingerprints: Sequence[str],
    new: Sequence[int],
    predictions: Mapping[str, Sequence[Answer]],
    now: datetime,
) -> None:
    figures = {answer.figures for answers in predictions.values() for answer in answers}
    hours = dict(HourFigures.objects.filter(pk__in=figures).values_list("pk", "hour"))
    increments: dict[int, Increment] = defaultdict(Increment)
    cells: dict[datetime, list[tuple[Any, ...]]] = defaultdict(list)
    labels = []
    task = source.task
    for place in new:
        row, at = rows[place], times[place]
        value = encode_value(row.label)
        answers = predictions.get(row.id, ())
        for answer in answers:
            predicted = json.loads(answer.value) if answer.value else None
            increments[answer.figures].add_label(task, predicted, row.label)
        for hour in {hours[answer.figures] for answer in answers}:
            cells[hour].append((row.id, at, value))
        labels.append((source.pk, row.id, value, row.at, now, bool(answers), fingerprints[place]))
    if task == Task.CLASSIFICATION:
        batches.keep_classes(source, {get_class_name(rows[place].label) for place in new})
    columns = ("source_id", "key", "value", "at", "received_at", "joined", "fingerprint")
    insert_many(Label, columns, labels)
    batches.add_increments(increments)
    batches.land_rows(source, PartKind.LABELS, cells, now)
