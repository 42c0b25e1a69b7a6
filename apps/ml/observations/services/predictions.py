"""Predictions that come in: counted once whatever comes twice, and compared with labels that came before them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.observations.models import Label, ObservationSource, PartKind, Prediction, Task
from apps.ml.observations.sampling import is_sampled
from apps.ml.observations.schemas import PredictionRow
from apps.ml.observations.scoring import Increment, get_class_name
from apps.ml.observations.services import batches
from apps.ml.observations.services.batches import BatchResult, build_row_error, floor_hour
from apps.ml.observations.services.labels import build_label_line
from apps.ml.observations.services.sources import lock_source
from apps.ml.registry.models import ModelVersion
from deepseek.messages import Message

INSERT_ROWS = 1_000


def record_predictions(*, actor: Actor, source: ObservationSource, rows: Sequence[PredictionRow]) -> BatchResult:
    """Take a batch of predictions, all or none. A row that came before counts once.

    Raises Invalid with the errors of each row, Conflict with each row whose id came before with other content.
    """
    require(actor, "observation.record", source)
    now = timezone.now()
    fingerprints = [row.compute_fingerprint() for row in rows]
    with transaction.atomic():
        locked = lock_source(source)
        versions = resolve_versions(locked, rows)
        batches.raise_errors(
            [
                *batches.check_times(locked, (row.at for row in rows), now),
                *batches.check_values(locked, "answer", (row.answer for row in rows)),
                *find_unknown_versions(versions, rows),
            ]
        )
        first, repeats, conflicts = batches.drop_repeats(rows, lambda row: (row.id, row.shadow), fingerprints)
        keys = {row.id for row in rows}
        existing = load_known(locked, keys)
        labels = {label.key: label for label in Label.objects.filter(source=locked, key__in=keys)}
        new: list[int] = []
        duplicates, sampled_out = repeats, 0
        for (key, is_shadow), place in first.items():
            before = existing.get(key, {}).get(is_shadow)
            if before is not None and before.fingerprint == fingerprints[place]:
                duplicates += 1
            elif before is not None:
                conflicts.append((place, key))
            elif key in labels or key in existing or is_sampled(key, locked.sampling_rate):
                new.append(place)
            else:
                sampled_out += 1
        batches.raise_conflicts(sorted(conflicts))
        store_predictions(locked, rows, fingerprints, new, versions, labels, existing, now)
        result = BatchResult(len(rows), len(new), duplicates, sampled_out)
        batches.record_batch(
            actor, locked, "observation.record_predictions", result, (fingerprints[place] for place in new), now
        )
    return result


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


def load_known(source: ObservationSource, keys: set[str]) -> dict[str, dict[bool, Prediction]]:
    """{id: {is_shadow: its prediction}} of those that are there."""
    existing: dict[str, dict[bool, Prediction]] = defaultdict(dict)
    for row in Prediction.objects.filter(source=source, key__in=keys).select_related("figures"):
        existing[row.key][row.is_shadow] = row
    return dict(existing)


def store_predictions(
    source: ObservationSource,
    rows: Sequence[PredictionRow],
    fingerprints: Sequence[str],
    new: Sequence[int],
    versions: dict[tuple[str, int], int],
    labels: dict[str, Label],
    known: dict[str, dict[bool, Prediction]],
    now: datetime,
) -> None:
    """Rows, figures and landed lines of the new predictions, and of the labels that waited for them."""
    groups = {
        place: (versions[row.model, row.version], row.variant, row.shadow, floor_hour(row.at))
        for place, row in ((place, rows[place]) for place in new)
    }
    figures = batches.load_figures(source, groups.values())
    increments: dict[int, Increment] = defaultdict(Increment)
    lines: dict[datetime, list[str]] = defaultdict(list)
    label_lines: dict[datetime, list[str]] = defaultdict(list)
    landed = {(key, row.figures.hour) for key, both in known.items() for row in both.values()}
    predictions = []
    for place in new:
        row, hour = rows[place], figures[groups[place]]
        increment = increments[hour.pk]
        increment.add_prediction(source.task, row.answer, row.latency_ms)
        lines[hour.hour].append(build_prediction_line(row))
        if (label := labels.get(row.id)) is not None:
            increment.add_label(source.task, row.answer, json.loads(label.value))
            if (row.id, hour.hour) not in landed:
                label_lines[hour.hour].append(build_label_line(label.key, label.at, label.value))
                landed.add((row.id, hour.hour))
        predictions.append(
            Prediction(
                source=source,
                key=row.id,
                is_shadow=row.shadow,
                figures=hour,
                answer="" if source.task == Task.OTHER else json.dumps(row.answer, ensure_ascii=False),
                fingerprint=fingerprints[place],
            )
        )
    if source.task == Task.CLASSIFICATION:
        batches.keep_classes(source, {get_class_name(rows[place].answer) for place in new})
    Prediction.objects.bulk_create(predictions, batch_size=INSERT_ROWS)
    waited = [labels[rows[place].id].pk for place in new if rows[place].id in labels]
    Label.objects.filter(pk__in=waited, joined=False).update(joined=True)
    batches.add_increments(increments)
    batches.land_rows(source, PartKind.PREDICTIONS, lines, now)
    batches.land_rows(source, PartKind.LABELS, label_lines, now)


def build_prediction_line(row: PredictionRow) -> str:
    """The columns of deepseek.observations.spec.PREDICTION_COLUMNS."""
    features = None if row.features is None else json.dumps(row.features, ensure_ascii=False)
    at, *facts, digest, latency = row.list_facts()
    values = [row.id, at, *facts, json.dumps(row.answer, ensure_ascii=False), features, digest, latency]
    return json.dumps(values, ensure_ascii=False)
