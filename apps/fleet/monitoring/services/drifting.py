"""Drift of features and errors: what a worker has to compute, and what becomes of it.

The tests themselves take NumPy, so a worker computes them between two calls: `list_due_drift` reads, `record_drift`
writes. A window, its alarms and the states of the detectors are one transaction, which the place of the stream guards:
of two workers one counts an hour, and one that is killed has counted it or has not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.monitoring.figures import build_scope, filter_hours, find_reference
from apps.fleet.monitoring.measures import build_rule
from apps.fleet.monitoring.models import DriftWindow, ErrorStream, Monitor
from apps.fleet.monitoring.services.alarms import (
    close_if_over,
    find_active_alarm,
    is_cooling_down,
    note_bad,
    open_alarm,
)
from apps.fleet.monitoring.states import Cause, DriftVerdict, Measure, MonitorState
from apps.ml.observations.models import FeatureProfile, FeatureReference, Landing, PartKind
from apps.ml.observations.services.batches import HOUR, floor_hour

SEALED_AFTER = timedelta(minutes=12)  # the end of an hour, its rows lie in parts and are counted
PATIENCE = timedelta(hours=2)  # with rows that could not be sealed: then a window is evaluated without them
MAX_CATCH_UP = 48  # windows that are made up for after the plane was down
KEPT_WINDOWS = 24 * 100  # of a monitor
LISTED_SOURCES = 50


@dataclass(frozen=True, slots=True)
class HourErrors:
    """The labelled answers of one hour: of a classification how many were wrong, of a regression the sum of errors."""

    hour: datetime
    scored: int
    wrong: float


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """What a worker needs for one window of a monitor."""

    monitor: Monitor
    begins: datetime
    until: datetime
    previous: datetime | None  # the place of the stream when this was read
    reference: FeatureReference | None  # of the version with the most rows that has one
    hours: list[HourErrors]
    adwin: Mapping[str, Any] | None
    risk: Mapping[str, Any] | None
    accuracy_line: float | None  # below it the risk is beyond its line
    accuracy_reference: float | None

    def iterate_profiles(self) -> Iterator[tuple[int, str]]:
        """(source, profile as JSON) of the hours of the window."""
        if self.reference is None:
            return
        rows = filter_profiles(self.monitor, self.begins, self.until)
        rows = rows.filter(version=self.reference.version_id, layout_digest=self.reference.layout_digest)
        yield from rows.order_by("source", "hour").values_list("source_id", "profile").iterator(chunk_size=200)


@dataclass(frozen=True, slots=True)
class DriftResult:
    """What a worker found: features the most drifted first, the states of the detectors, evidence of what is wrong."""

    verdict: str = DriftVerdict.UNKNOWN
    rows: int = 0
    features: list[dict[str, Any]] = field(default_factory=list)
    by_source: list[dict[str, Any]] = field(default_factory=list)
    adwin: Mapping[str, Any] | None = None
    risk: Mapping[str, Any] | None = None
    rise: Mapping[str, Any] | None = None  # of the errors, as ADWIN found it
    has_fallen: bool = False
    risk_alarm: Mapping[str, Any] | None = None
    is_risk_good: bool = False


def list_due_drift(*, actor: Actor, now: datetime) -> Iterator[DriftPlan]:
    """The next window of each active monitor that watches its inputs and has one to evaluate, one after another."""
    require(actor, "monitor.evaluate_drift")
    rows = Monitor.objects.filter(state=MonitorState.ACTIVE, watches_inputs=True, model__deleted_at=None)
    for monitor in rows.select_related("project", "model", "error_stream").order_by("pk"):
        stream = getattr(monitor, "error_stream", None)
        last = floor_hour(now - SEALED_AFTER)
        first = stream.until + HOUR if stream else min(floor_hour(monitor.watched_from) + HOUR, last)
        until = max(first, last - (MAX_CATCH_UP - 1) * HOUR)
        if until <= last and is_sealed(monitor, until, now):
            yield build_plan(monitor, stream, until)


def is_sealed(monitor: Monitor, until: datetime, now: datetime) -> bool:
    """Whether what came in the hour before `until` lies in parts, or has been waited for long enough."""
    if now - until > PATIENCE:
        return True
    landed = Landing.objects.filter(
        source__project=monitor.project_id, kind=PartKind.PREDICTIONS, hour=until - HOUR, **build_scope(monitor)
    )
    return not landed.exists()


def build_plan(monitor: Monitor, stream: ErrorStream | None, until: datetime) -> DriftPlan:
    begins = until - timedelta(hours=monitor.window_hours)
    lag = timedelta(hours=monitor.lag_hours)
    busiest = filter_hours(monitor, begins, until).order_by().values("version").annotate(total=Sum("predictions"))
    versions = [row["version"] for row in busiest.order_by("-total", "-version")]
    accuracy = find_reference(monitor, versions[0] if versions else None)
    is_accuracy = monitor.metric == Measure.ACCURACY
    line = build_rule(monitor).compute_threshold(accuracy) if accuracy is not None and is_accuracy else None
    return DriftPlan(
        monitor,
        begins,
        until,
        stream.until if stream else None,
        find_feature_reference(versions),
        list_hour_errors(monitor, (stream.until if stream else until - HOUR) - lag, until - lag),
        stream.adwin if stream else None,
        stream.risk if stream else None,
        line,
        accuracy if is_accuracy else None,
    )


def find_feature_reference(versions: list[int]) -> FeatureReference | None:
    """The newest reference of the first of these versions that has one."""
    rows = FeatureReference.objects.filter(version__in=versions).select_related("version").order_by("pk")
    newest = {row.version_id: row for row in rows}
    return next((newest[version] for version in versions if version in newest), None)


def list_hour_errors(monitor: Monitor, since: datetime, until: datetime) -> list[HourErrors]:
    rows = filter_hours(monitor, since, until).order_by().values("hour")
    sums = rows.annotate(scored_sum=Sum("scored"), right=Sum("correct"), errors=Sum("error_sum")).order_by("hour")
    is_error = monitor.metric == Measure.ERROR
    return [
        HourErrors(row["hour"], row["scored_sum"], row["errors"] if is_error else row["scored_sum"] - row["right"])
        for row in sums
        if row["scored_sum"]
    ]


def filter_profiles(monitor: Monitor, since: datetime, until: datetime) -> Any:
    return FeatureProfile.objects.filter(hour__gte=since, hour__lt=until, **build_scope(monitor))


def record_drift(*, actor: Actor, plan: DriftPlan, result: DriftResult, now: datetime) -> DriftWindow | None:
    """Store what a worker found in a window, and open or close alarms; None where another worker was first."""
    require(actor, "monitor.evaluate_drift")
    with transaction.atomic():
        rows = Monitor.objects.select_for_update(of=("self",)).select_related("project", "model")
        monitor = rows.filter(pk=plan.monitor.pk, state=MonitorState.ACTIVE).first()
        if monitor is None or not move_stream(monitor, plan, result):
            return None
        window = DriftWindow.objects.create(
            monitor=monitor,
            until=plan.until,
            verdict=result.verdict,
            rows=result.rows,
            drifted=sum(each["verdict"] in (DriftVerdict.MOVED, DriftVerdict.CHANGED) for each in result.features),
            features=result.features,
            version_id=plan.reference.version_id if plan.reference else None,
        )
        DriftWindow.objects.filter(monitor=monitor, until__lt=plan.until - KEPT_WINDOWS * HOUR).delete()
        if window.verdict == DriftVerdict.CHANGED:
            raise_inputs(actor, monitor, plan, window, result, now)
        elif window.verdict in (DriftVerdict.STABLE, DriftVerdict.MOVED):
            close_if_over(actor, monitor, Cause.INPUTS)
        raise_or_close(actor, monitor, Cause.ERRORS, plan, result.rise, now, is_over=result.has_fallen)
        raise_or_close(actor, monitor, Cause.RISK, plan, result.risk_alarm, now, is_over=result.is_risk_good)
    return window


def move_stream(monitor: Monitor, plan: DriftPlan, result: DriftResult) -> bool:
    """Take the stream and its detectors to the end of the window; False where it is not at its place any more."""
    values = {"until": plan.until, "adwin": result.adwin, "risk": result.risk}
    if plan.previous is None:
        return ErrorStream.objects.get_or_create(monitor=monitor, defaults=values)[1]
    return bool(ErrorStream.objects.filter(monitor=monitor, until=plan.previous).update(**values))


def raise_inputs(
    actor: Actor, monitor: Monitor, plan: DriftPlan, window: DriftWindow, result: DriftResult, now: datetime
) -> None:
    windows = DriftWindow.objects.filter(monitor=monitor, until__lte=window.until)
    good = windows.exclude(verdict=DriftVerdict.CHANGED).order_by("-until").values_list("until", flat=True).first()
    bad = windows.filter(verdict=DriftVerdict.CHANGED, **({"until__gt": good} if good else {}))
    since = bad.order_by("until").values_list("until", flat=True).first() or window.until
    facts = {
        "version": plan.reference.version.number if plan.reference else None,
        "rows": window.rows,
        "alpha": monitor.drift_alpha,
        "correction": monitor.drift_correction,
        "features": window.features,
        "by_source": result.by_source,
    }
    raise_alarm(actor, monitor, Cause.INPUTS, plan, facts, now, since)


def raise_or_close(
    actor: Actor,
    monitor: Monitor,
    cause: Cause,
    plan: DriftPlan,
    facts: Mapping[str, Any] | None,
    now: datetime,
    *,
    is_over: bool,
) -> None:
    if facts is not None:
        raise_alarm(actor, monitor, cause, plan, facts, now, plan.until)
    elif is_over:
        close_if_over(actor, monitor, cause)


def raise_alarm(
    actor: Actor,
    monitor: Monitor,
    cause: Cause,
    plan: DriftPlan,
    facts: Mapping[str, Any],
    now: datetime,
    since: datetime,
) -> None:
    alarm = find_active_alarm(monitor, cause)
    if alarm is not None:
        note_bad(alarm, plan.until)
    elif not is_cooling_down(monitor, cause, now):
        window = {"since": plan.begins.isoformat(), "until": plan.until.isoformat()}
        evidence = json.loads(json.dumps({"since": since.isoformat(), "window": window, **facts}))
        open_alarm(actor, monitor, cause, evidence, since=since, at=plan.until)
