"""Parts: what landed of an hour becomes a Parquet file, and leaves the landing in the transaction that names it.

A file that no row names is garbage, so a kill between the two loses nothing; two that seal the same rows find that one
of them has taken them, and only that one makes a part.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min, Sum
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import StaleState, Unavailable
from apps.core.policy import require
from apps.data.datasets.bounded_process import ProcessLimits, get_child_path, stream_to_module
from apps.ml.observations.models import (
    FeatureProfile,
    FeatureReference,
    HourFigures,
    Landing,
    ObservationPart,
    ObservationSource,
    PartKind,
)
from apps.ml.observations.services.batches import HOUR
from apps.ml.observations.services.sources import lock_source
from apps.platform.artifacts.bulk_sql import Stored, hold_many, split_into_batches
from apps.platform.artifacts.queries import is_marked_damaged
from apps.platform.artifacts.store import CHUNK
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record
from deepseek.messages import N_

log = logging.getLogger(__name__)

PACKER = "deepseek.observations.pack"
LIMITS = ProcessLimits(seconds=300, memory=4 * 2**30, written=2**30)
CLOSING = timedelta(minutes=5)  # after an hour, for what is under way
LATE_REST = timedelta(hours=6)  # that late rows wait for others, so that a trickle makes few parts
SEAL_CHARACTERS = 64 * 2**20  # of a part; an hour with more is sealed before it ends
PARTS_PER_CHILD = 64
PATIENCE_SECONDS = 20.0  # of a request that waits
MEDIA_TYPE = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class LandedHour:
    """Rows of one kind and hour that lie in the landing."""

    source_id: int
    hour: datetime
    kind: str


@dataclass(frozen=True, slots=True)
class CountedFeatures:
    """The profile of the features of one version in a part, as the packer counted it."""

    version_id: int
    layout_digest: str
    rows: int
    profile: str


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part whose file is in the store and that no row names yet."""

    stored: Stored
    features: list[CountedFeatures]


@dataclass(frozen=True, slots=True)
class PartRows:
    """The landed rows that one part will hold."""

    landed: LandedHour
    ids: list[int]
    rows: int


def seal_observations(
    *, actor: Actor, now: datetime | None = None, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Seal every hour that is over, and what came late once it has waited; how many parts were made.

    A source that cannot be sealed holds up no other: the first failure is raised after all have had their turn.
    """
    require(actor, "observation.seal")
    at = now or timezone.now()
    due = [landed for landed, first, size in list_landed_hours() if is_due(landed.hour, first, size, at)]
    count, failure = 0, None
    for source_id, landed in groupby(due, key=attrgetter("source_id")):
        try:
            count += seal_hours(actor, list(landed), stopping)
        except Exception as error:
            log.exception("the observations of source %s could not be sealed", source_id)
            failure = failure or error
    if failure is not None:
        raise failure
    return count


def seal_period(*, actor: Actor, source: ObservationSource, since: datetime, until: datetime) -> int:
    """Seal what has landed of a period by now, whether it is due or not; what comes meanwhile stays. Somebody waits.

    Raises Unavailable (`sealing_goes_on`) where that takes too long; another call goes on from there.
    """
    require(actor, "observation.seal")
    end = time.monotonic() + PATIENCE_SECONDS
    last = Landing.objects.filter(source=source).aggregate(last=Max("pk"))["last"] or 0
    count = 0
    while True:
        hours = [each for each, *_ in list_landed_hours(source, last) if each.hour < until and each.hour + HOUR > since]
        if not hours:
            return count
        if time.monotonic() > end:
            raise Unavailable(
                "{count} hours of observations are still to be written to files.",
                count=len(hours),
                code="sealing_goes_on",
                hint=N_("Send the request again: it goes on from there."),
            )
        count += seal_hours(actor, hours, lambda: time.monotonic() > end, last)


def list_landed_hours(
    source: ObservationSource | None = None, last: int | None = None
) -> list[tuple[LandedHour, datetime, int]]:
    """(hour, when its first row came, characters) of what lies in the landing: of a source, up to the row `last`."""
    rows = Landing.objects.filter(**({"source": source} if source else {}), **build_bound(last))
    grouped = rows.order_by("source", "hour", "kind").values_list("source", "hour", "kind")
    counted = grouped.annotate(first=Min("received_at"), total=Sum("size"))
    return [(LandedHour(pk, hour, kind), first, size) for pk, hour, kind, first, size in counted]


def is_due(hour: datetime, first: datetime, size: int, now: datetime) -> bool:
    closed = hour + HOUR + CLOSING
    if size >= SEAL_CHARACTERS:
        return True
    return now >= closed and (first < closed or now - first >= LATE_REST)


def build_bound(last: int | None) -> dict[str, int]:
    return {} if last is None else {"pk__lte": last}


def seal_hours(
    actor: Actor,
    hours: Sequence[LandedHour],
    stopping: Callable[[], bool] = lambda: False,
    last: int | None = None,
) -> int:
    count = 0
    for source_id, landed in groupby(sorted(hours, key=attrgetter("source_id")), key=attrgetter("source_id")):
        parts = (part for each in landed for part in divide_rows(each, last))
        for batch in split_into_batches(parts, PARTS_PER_CHILD):
            if stopping():
                return count
            count += seal_parts(actor, source_id, batch)
    return count


def divide_rows(landed: LandedHour, last: int | None = None) -> Iterator[PartRows]:
    """The landed rows of an hour, up to the row `last`, in parts of a bounded size."""
    facts = {"source": landed.source_id, "hour": landed.hour, "kind": landed.kind}
    rows = Landing.objects.filter(**facts, **build_bound(last)).order_by("pk")
    ids: list[int] = []
    count = size = 0
    for pk, number, characters in rows.values_list("pk", "rows", "size"):
        if ids and size + characters > SEAL_CHARACTERS:
            yield PartRows(landed, ids, count)
            ids, count, size = [], 0, 0
        ids.append(pk)
        count, size = count + number, size + characters
    if ids:
        yield PartRows(landed, ids, count)


def seal_parts(actor: Actor, source_id: int, parts: Sequence[PartRows]) -> int:
    """Write the files of these parts of one source in one child, then register them together; how many were made."""
    source = ObservationSource.objects.select_related("project").get(pk=source_id)
    try:
        register_parts(actor, source, parts, store_parts(source, parts))
    except StaleState:  # somebody else has sealed some of these rows; the others wait for the next round
        log.info("rows of %s were sealed already", source)
        return 0
    return len(parts)


def store_parts(source: ObservationSource, parts: Sequence[PartRows]) -> list[StoredPart]:
    """Write the files of these parts. Raises StaleState where some of their rows have gone, Unavailable where the
    files could not be written."""
    with ExitStack() as stack:
        files: list[IO[bytes]] = [
            stack.enter_context(tempfile.NamedTemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)) for _ in parts
        ]
        references = load_references(source, parts)
        lines = iterate_lines(source, parts, files, references)
        answer = stream_to_module(PACKER, [], lines, *files, limits=LIMITS)
        if answer.document is None or [part["rows"] for part in answer.document["parts"]] != [p.rows for p in parts]:
            raise Unavailable(
                "The observations could not be written to files.",
                code="seal_failed",
                hint=N_("They are kept as they came, and it is tried again: the log of the web or worker says why."),
            )
        by_name = {(each.version.model.name, each.version.number): each for each in references}
        return [
            StoredPart(store_part(source, part, file), read_counted(written.get("profiles") or (), by_name))
            for part, file, written in zip(parts, files, answer.document["parts"], strict=True)
        ]


def load_references(source: ObservationSource, parts: Sequence[PartRows]) -> list[FeatureReference]:
    """The newest reference of each version that answered in the hours of these parts."""
    hours = {part.landed.hour for part in parts if part.landed.kind == PartKind.PREDICTIONS}
    versions = HourFigures.objects.filter(source=source, hour__in=hours, is_shadow=False).values("version")
    rows = FeatureReference.objects.filter(version__in=versions).select_related("version__model").order_by("pk")
    return list({each.version_id: each for each in rows}.values())


def read_counted(
    profiles: Iterable[tuple[str, int, dict[str, Any]]], references: Mapping[tuple[str, int], FeatureReference]
) -> list[CountedFeatures]:
    return [
        CountedFeatures(references[model, version].version_id, profile["layout"], profile["rows"], json.dumps(profile))
        for model, version, profile in profiles
    ]


def iterate_lines(
    source: ObservationSource,
    parts: Sequence[PartRows],
    files: Sequence[IO[bytes]],
    references: Sequence[FeatureReference],
) -> Iterator[bytes]:
    """What the packer reads. Raises StaleState where some of the rows have gone."""
    layouts = [(each.version.model.name, each.version.number, json.loads(each.layout)) for each in references]
    for part, file in zip(parts, files, strict=True):
        header: dict[str, Any] = {"kind": part.landed.kind, "rows": part.rows, "out": get_child_path(file)}
        if layouts and part.landed.kind == PartKind.PREDICTIONS:
            header["layouts"] = layouts
        yield f"{json.dumps(header)}\n".encode()
        left = len(part.ids)
        for payload in Landing.objects.filter(pk__in=part.ids).order_by("pk").values_list("payload", flat=True):
            left -= 1
            yield payload.encode()
        if left:
            raise build_stale_error(source)


def build_stale_error(source: ObservationSource) -> StaleState:
    return StaleState("The rows of {name} were sealed already.", name=source.name)


def store_part(source: ObservationSource, part: PartRows, file: IO[bytes]) -> Stored:
    """Put a file into the store, without a row that names it."""
    name = f"{source.name}-{part.landed.kind}-{part.landed.hour:%Y%m%d%H}.parquet"
    with get_store().open_staging() as staging:
        while chunk := file.read(CHUNK):
            staging.write(chunk)
        staging.publish(is_damaged=is_marked_damaged)
    return Stored(*staging.stored[:2], name, MEDIA_TYPE, *staging.stored[2:])


def register_parts(
    actor: Actor, source: ObservationSource, parts: Sequence[PartRows], stored: Sequence[StoredPart]
) -> None:
    """Let the files take the place of the landed rows. Raises StaleState where any of these have gone."""
    with transaction.atomic():
        lock_source(source)
        ids = [pk for part in parts for pk in part.ids]
        gone, _ = Landing.objects.filter(pk__in=ids).delete()
        if gone != len(ids):
            raise build_stale_error(source)
        hold_many(actor=actor, project=source.project, stored=[item.stored for item in stored])
        rows = ObservationPart.objects.bulk_create(
            ObservationPart(
                source=source,
                hour=part.landed.hour,
                kind=part.landed.kind,
                artifact_id=item.stored.digest,
                rows=part.rows,
            )
            for part, item in zip(parts, stored, strict=True)
        )
        FeatureProfile.objects.bulk_create(
            FeatureProfile(
                source=source,
                version_id=counted.version_id,
                hour=row.hour,
                part_key=row.pk,
                layout_digest=counted.layout_digest,
                rows=counted.rows,
                profile=counted.profile,
            )
            for row, item in zip(rows, stored, strict=True)
            for counted in item.features
        )
        hours = [part.landed.hour for part in parts]
        record(
            actor=actor,
            action="observation.seal",
            obj=source,
            after={
                "parts": len(parts),
                "rows": sum(part.rows for part in parts),
                "first_hour": min(hours).isoformat(),
                "last_hour": max(hours).isoformat(),
            },
            digests={"parts": sha256_hex("".join(f"{item.stored.digest}\n" for item in stored))},
        )
