"""What goes once the retention of its source is over: parts, landed rows, and the rows of predictions and labels.

The figures of the hours stay: they name nobody, and are what a longer history is drawn from. Rows of an hour that has
gone are not taken any more, or they would count twice. The bytes of parts are garbage then, unless a dataset version
or a hold needs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.policy import require
from apps.ml.observations.models import Label, Landing, ObservationPart, ObservationSource, Prediction
from apps.ml.observations.services.batches import floor_hour
from apps.ml.observations.services.sources import lock_source
from apps.platform.audit.services import record
from apps.platform.holds.queries import find_hold_reason

ROWS_PER_TRANSACTION = 5_000


def purge_observations(
    *, actor: Actor, now: datetime | None = None, stopping: Callable[[], bool] = lambda: False
) -> Counter[str]:
    """Remove what is past the retention of its source; how many rows of each kind went.

    A source that a legal hold covers, by itself or by its project, loses nothing. Each transaction leaves a record.
    """
    require(actor, "observation.purge")
    gone: Counter[str] = Counter()
    for source in ObservationSource.objects.filter(retention_days__isnull=False).order_by("pk"):
        while not stopping() and (step := purge_step(actor, source, now or timezone.now())):
            gone += step
    return gone


def purge_step(actor: Actor, source: ObservationSource, now: datetime) -> Counter[str]:
    """One transaction's worth; empty when nothing is left."""
    with transaction.atomic():
        locked = lock_source(source)
        if locked.retention_days is None or find_hold_reason(
            locked.project_id, [("observationsource", str(locked.pk))]
        ):
            return Counter()
        cutoff = floor_hour(now - timedelta(days=locked.retention_days))
        if locked.purged_before is None or locked.purged_before < cutoff:
            ObservationSource.objects.filter(pk=locked.pk).update(purged_before=cutoff)
        parts = ObservationPart.objects.filter(source=locked, hour__lt=cutoff)
        digests = list(parts.order_by("pk").values_list("artifact_id", flat=True)[:ROWS_PER_TRANSACTION])
        gone = Counter(
            parts=delete_rows(parts),
            landed=delete_rows(Landing.objects.filter(source=locked, hour__lt=cutoff)),
            **delete_predictions(locked, cutoff),
            waiting_labels=delete_rows(Label.objects.filter(source=locked, joined=False, received_at__lt=cutoff)),
        )
        gone = +gone
        if gone:
            record(
                actor=actor,
                action="observation.purge",
                obj=locked,
                after={"before": cutoff.isoformat(), **gone},
                digests={"parts": sha256_hex("".join(f"{digest}\n" for digest in digests))} if digests else {},
            )
    return gone


def delete_rows(rows: QuerySet) -> int:  # type: ignore[type-arg]
    """The first of these rows, so many at a time."""
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_PER_TRANSACTION])
    rows.model._base_manager.filter(pk__in=ids).delete()
    return len(ids)


def delete_predictions(source: ObservationSource, cutoff: datetime) -> dict[str, int]:
    """Predictions of hours before `cutoff`, and the labels that no other prediction needs."""
    rows = Prediction.objects.filter(source=source, figures__source=source, figures__hour__lt=cutoff)
    matches = dict(rows.order_by("pk").values_list("pk", "key")[:ROWS_PER_TRANSACTION])
    if not matches:
        return {}
    Prediction.objects.filter(pk__in=matches).delete()
    keys = set(matches.values())
    keys -= set(Prediction.objects.filter(source=source, key__in=keys).values_list("key", flat=True))
    labels, _ = Label.objects.filter(source=source, key__in=keys).delete()
    return {"predictions": len(matches), "labels": labels}
