"""Labels that come in: compared with their prediction where it is there, else kept until it comes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.observations.models import Label, ObservationSource, PartKind, Prediction, Task
from apps.ml.observations.sampling import is_sampled
from apps.ml.observations.schemas import LabelRow, count_microseconds
from apps.ml.observations.scoring import Increment, get_class_name
from apps.ml.observations.services import batches
from apps.ml.observations.services.batches import BatchResult
from apps.ml.observations.services.sources import lock_source

INSERT_ROWS = 1_000


def record_labels(*, actor: Actor, source: ObservationSource, rows: Sequence[LabelRow]) -> BatchResult:
    """Take a batch of labels, all or none. One that came before counts once; one whose prediction has not come waits.

    A label counts in the hour of its prediction, however late it is. Raises as record_predictions does.
    """
    require(actor, "observation.record", source)
    now = timezone.now()
    fingerprints = [row.compute_fingerprint() for row in rows]
    with transaction.atomic():
        locked = lock_source(source)
        batches.raise_errors(
            [
                *batches.check_times(locked, (row.at for row in rows), now),
                *batches.check_values(locked, "label", (row.label for row in rows)),
            ]
        )
        first, repeats, conflicts = batches.drop_repeats(rows, lambda row: row.id, fingerprints)
        existing = {label.key: label for label in Label.objects.filter(source=locked, key__in=set(first))}
        predictions: dict[str, list[Prediction]] = defaultdict(list)
        matches = Prediction.objects.filter(source=locked, key__in=set(first) - set(existing)).select_related("figures")
        for prediction in matches.order_by("pk"):
            predictions[prediction.key].append(prediction)
        new: list[int] = []
        duplicates, sampled_out = repeats, 0
        for key, place in first.items():
            before = existing.get(key)
            if before is not None and before.fingerprint == fingerprints[place]:
                duplicates += 1
            elif before is not None:
                conflicts.append((place, key))
            elif key in predictions or is_sampled(key, locked.sampling_rate):
                new.append(place)
            else:
                sampled_out += 1
        batches.raise_conflicts(sorted(conflicts))
        store_labels(locked, rows, fingerprints, new, predictions, now)
        waiting = sum(rows[place].id not in predictions for place in new)
        result = BatchResult(len(rows), len(new), duplicates, sampled_out, waiting)
        batches.record_batch(
            actor, locked, "observation.record_labels", result, (fingerprints[place] for place in new), now
        )
    return result


def store_labels(
    source: ObservationSource,
    rows: Sequence[LabelRow],
    fingerprints: Sequence[str],
    new: Sequence[int],
    predictions: dict[str, list[Prediction]],
    now: datetime,
) -> None:
    increments: dict[int, Increment] = defaultdict(Increment)
    lines: dict[datetime, list[str]] = defaultdict(list)
    labels = []
    for place in new:
        row = rows[place]
        value = json.dumps(row.label, ensure_ascii=False)
        answered = predictions.get(row.id, [])
        for prediction in answered:
            answer = json.loads(prediction.answer) if prediction.answer else None
            increments[prediction.figures_id].add_label(source.task, answer, row.label)
        for hour in {prediction.figures.hour for prediction in answered}:
            lines[hour].append(build_label_line(row.id, row.at, value))
        labels.append(
            Label(
                source=source,
                key=row.id,
                value=value,
                at=row.at,
                received_at=now,
                joined=bool(answered),
                fingerprint=fingerprints[place],
            )
        )
    if source.task == Task.CLASSIFICATION:
        batches.keep_classes(source, {get_class_name(rows[place].label) for place in new})
    Label.objects.bulk_create(labels, batch_size=INSERT_ROWS)
    batches.add_increments(increments)
    batches.land_rows(source, PartKind.LABELS, lines, now)


def build_label_line(key: str, at: datetime, value: str) -> str:
    """The columns of deepseek.observations.spec.LABEL_COLUMNS."""
    return json.dumps([key, count_microseconds(at), value], ensure_ascii=False)
