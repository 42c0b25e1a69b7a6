"""The evidence of an alarm: what moved, since when, and which versions and sources, as JSON that never changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apps.fleet.devices.models import Device
from apps.fleet.monitoring.figures import LISTED_SOURCES, Slice, WindowFigures, filter_hours, read_slices
from apps.fleet.monitoring.measures import find_recorded, is_lower_better
from apps.fleet.monitoring.models import Monitor, Window
from apps.ml.observations.models import ObservationSource
from apps.ml.registry.models import ModelVersion
from deepseek.drift.estimates import Estimate


def build_drop_evidence(
    monitor: Monitor, found: WindowFigures, window: Window, since: datetime, begins: datetime
) -> dict[str, Any]:
    """Of a window from `begins` whose metric is beyond the line; `since`: the end of the first bad one in a row."""
    rows = filter_hours(monitor, begins, window.until)
    return {
        "metric": monitor.metric,
        "rule": {"kind": monitor.rule, "limit": monitor.limit, "certainty": monitor.certainty},
        "window": {"since": begins.isoformat(), "until": window.until.isoformat()},
        "since": since.isoformat(),
        "reference": window.reference,
        "line": window.line,
        "whole": describe_slice(found.whole),
        "by_version": describe_versions(monitor, found.by_version),
        "by_source": describe_sources(monitor, read_slices(monitor, rows, "source_id")),
    }


def build_silence_evidence(monitor: Monitor, since: datetime, now: datetime) -> dict[str, Any]:
    hours = (now - since).total_seconds() / 3600
    return {"since": since.isoformat(), "hours": round(hours, 1), "limit": monitor.silence_hours}


def describe_slice(part: Slice) -> dict[str, Any]:
    return {
        **describe_estimate(part.estimate),
        "count": part.figures.scored,
        "labelled": part.figures.labelled,
        "predictions": part.figures.predictions,
    }


def describe_estimate(estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {"value": None, "low": None, "high": None}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def describe_versions(monitor: Monitor, slices: list[Slice]) -> list[dict[str, Any]]:
    """Each version with what it was registered with."""
    rows = ModelVersion.objects.filter(pk__in=[each.key for each in slices]).values_list("pk", "number", "metrics")
    versions = {pk: (number, find_recorded(monitor.metric, metrics)) for pk, number, metrics in rows}
    return [
        {"version": versions[each.key][0], "recorded": versions[each.key][1], **describe_slice(each)} for each in slices
    ]


def describe_sources(monitor: Monitor, slices: list[Slice]) -> list[dict[str, Any]]:
    """The worst first; the device of a source that is one's."""
    worst = sorted(slices, key=lambda each: rank_slice(monitor, each))[:LISTED_SOURCES]
    keys = [each.key for each in worst]
    names = dict(ObservationSource.objects.filter(pk__in=keys).values_list("pk", "name"))
    owners = Device.objects.filter(source__in=keys).values_list("source_id", "pk", "name")
    devices = {source: (pk, name) for source, pk, name in owners}
    described = []
    for each in worst:
        pk, name = devices.get(each.key, (None, ""))
        described.append({"source": names[each.key], "device": pk, "device_name": name, **describe_slice(each)})
    return described


def rank_slice(monitor: Monitor, part: Slice) -> tuple[bool, float, Any]:
    if part.estimate is None or part.estimate.value is None:
        return True, 0.0, part.key
    return False, -part.estimate.value if is_lower_better(monitor.metric) else part.estimate.value, part.key
