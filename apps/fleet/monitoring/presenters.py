"""Shapes for the pages of monitors and alarms: the chart with its line, slices, and words for what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from apps.core.messages import translate_message
from apps.fleet.monitoring import queries
from apps.fleet.monitoring.evidence import describe_slice, describe_sources, describe_versions, rank_slice
from apps.fleet.monitoring.figures import filter_hours, read_attribute_slices, read_slices
from apps.fleet.monitoring.models import Alarm, DriftWindow, Monitor, Window
from apps.fleet.monitoring.states import AlarmState, Cause, DriftVerdict, Measure, MonitorState, Rule, Verdict
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.presenters import PERIODS

STATE_COLOURS = {AlarmState.OPEN: "failed", AlarmState.ACKNOWLEDGED: "held", AlarmState.CLOSED: "succeeded"}
VERDICT_COLOURS = {
    Verdict.GOOD: "succeeded",
    Verdict.WORSE: "failed",
    Verdict.FEW: "queued",
    Verdict.NO_REFERENCE: "queued",
}
DRIFT_STATES = {
    DriftVerdict.STABLE: "pass",
    DriftVerdict.MOVED: "warn",
    DriftVerdict.CHANGED: "fail",
    DriftVerdict.UNKNOWN: "queued",
}
DRIFT_CAUSES = (Cause.INPUTS, Cause.ERRORS, Cause.RISK)
DISTANCE_NAMES = {"ks": "KS", "chi_square": "V"}
LISTED_ATTRIBUTES = 20
DEFAULT_PERIOD = "7d"
Row = dict[str, Any]


def summarize_monitors(monitors: Sequence[Monitor]) -> list[Row]:
    """The rows of a page of the list, with what was found last; two queries more."""
    last, active = queries.load_last_windows(monitors), queries.count_active_alarms(monitors)
    return [
        {
            "monitor": monitor,
            "last": describe_window(monitor, last.get(monitor.pk)),
            "open": active.get(monitor.pk, {}).get(AlarmState.OPEN, 0),
            "acknowledged": active.get(monitor.pk, {}).get(AlarmState.ACKNOWLEDGED, 0),
            "metric": monitor.get_metric_display(),
        }
        for monitor in monitors
    ]


def describe_window(monitor: Monitor, window: Window | None) -> Row | None:
    if window is None:
        return None
    return {
        "window": window,
        "colour": VERDICT_COLOURS[Verdict(window.verdict)],
        "word": window.get_verdict_display(),
        **format_figures(monitor.metric, window.value, window.low, window.high, window.reference, window.line),
    }


def format_figures(
    metric: str,
    value: float | None,
    low: float | None,
    high: float | None,
    reference: float | None = None,
    line: float | None = None,
) -> Row:
    """Texts of a value, its interval, its reference and its line; "" for what is not there."""
    interval = ""
    if low is not None and high is not None:
        words = {"low": format_metric(metric, low), "high": format_metric(metric, high)}
        interval = _("%(low)s to %(high)s") % words
    return {
        "value": format_metric(metric, value),
        "interval": interval,
        "reference": format_metric(metric, reference),
        "line": format_metric(metric, line),
    }


def format_metric(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if metric == Measure.ERROR else f"{100 * value:.1f} %"


def describe_rule(monitor: Monitor) -> str:
    """The limit in words: by more than 5 %, by more than 0.05."""
    limit = f"{100 * monitor.limit:g} %" if monitor.rule == Rule.RELATIVE else f"{monitor.limit:g}"
    return _("worse by more than %(limit)s") % {"limit": limit}


def describe_scope(monitor: Monitor) -> str:
    if monitor.source is not None:
        return monitor.source.name
    return _("devices of %(group)s") % {"group": monitor.group} if monitor.group else _("Every source")


def build_chart(monitor: Monitor, windows: Sequence[Any]) -> Row | None:
    """The metric of each window (queries.list_chart_points) with its interval, and the line that it must not cross."""
    if not any(window.value is not None for window in windows):
        return None
    scale = 1 if monitor.metric == Measure.ERROR else 100
    points = [(window.until.timestamp(), scale_value(window.value, scale)) for window in windows]
    band = [
        (window.until.timestamp(), scale * window.low, scale * window.high)
        for window in windows
        if window.low is not None and window.high is not None
    ]
    lines = [(window.until.timestamp(), scale_value(window.line, scale)) for window in windows]
    label = monitor.get_metric_display()
    series = [{"label": label, "points": points, "band": band if len(band) > 1 else []}]
    if any(value is not None for _at, value in lines):
        series.append({"label": _("Alarm line"), "points": lines})
    return {
        "id": "metric",
        "axis": "time",
        "series": series,
        "x_unit": _("time"),
        "y_unit": label if monitor.metric == Measure.ERROR else "%",
        "note": _("The band is the interval of 95 %."),
    }


def scale_value(value: float | None, scale: int) -> float | None:
    return None if value is None else scale * value


def build_slices(monitor: Monitor, window: Window | None) -> Row:
    """The last window by version and by source, the worst first; none before the first."""
    if window is None:
        return {"versions": [], "sources": [], "attributes": []}
    begins = window.until - timedelta(hours=monitor.window_hours)
    rows = filter_hours(monitor, begins, window.until)
    by_source = read_slices(monitor, rows, "source_id")
    attributes = read_attribute_slices(monitor, rows, by_source)
    attributes.sort(key=lambda part: rank_slice(monitor, part))
    described = [{"attribute": part.key, **describe_slice(part)} for part in attributes[:LISTED_ATTRIBUTES]]
    return {
        "versions": format_slices(monitor.metric, describe_versions(monitor, read_slices(monitor, rows, "version_id"))),
        "sources": format_slices(monitor.metric, describe_sources(monitor, by_source)),
        "attributes": format_slices(monitor.metric, described),
    }


def describe_drift(window: DriftWindow | None) -> Row | None:
    """The features of a window, the most drifted first; their tests by name."""
    if window is None:
        return None
    return {
        "window": window,
        "state": DRIFT_STATES[DriftVerdict(window.verdict)],
        "word": window.get_verdict_display(),
        "features": format_features(window.features),
    }


def format_features(features: Sequence[Mapping[str, Any]]) -> list[Row]:
    labels = dict(DriftVerdict.choices)
    return [
        {
            **feature,
            "state": DRIFT_STATES[DriftVerdict(feature["verdict"])],
            "word": labels[DriftVerdict(feature["verdict"])],
            "text": translate_message(feature),
            "by_test": {test["name"]: test for test in feature.get("tests") or ()},
            "distance": find_distance(feature),
        }
        for feature in features
    ]


def find_distance(feature: Mapping[str, Any]) -> Row | None:
    """The distance of the distributions: KS of a number, Cramer's V of a category."""
    name = "ks" if feature.get("kind") == "number" else "chi_square"
    test = next((test for test in feature.get("tests") or () if test["name"] == name), None)
    return {**test, "name": DISTANCE_NAMES[name]} if test else None


def format_slices(metric: str, slices: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        {
            **part,
            **format_figures(metric, part["value"], part["low"], part["high"], part.get("recorded")),
        }
        for part in slices
    ]


def describe_evidence(alarm: Alarm) -> Row:
    """What the page of an alarm shows: from its evidence alone."""
    evidence, metric = alarm.evidence, alarm.monitor.metric
    if alarm.cause in DRIFT_CAUSES:
        return describe_drift_evidence(alarm)
    if "whole" not in evidence:
        return {"is_silence": True, "hours": evidence.get("hours"), "limit": evidence.get("limit")}
    overall = evidence["whole"]
    return {
        "is_silence": False,
        "whole": overall,
        "figures": format_figures(
            metric, overall["value"], overall["low"], overall["high"], evidence["reference"], evidence["line"]
        ),
        "since": datetime.fromisoformat(evidence["window"]["since"]),
        "until": datetime.fromisoformat(evidence["window"]["until"]),
        "versions": format_slices(metric, evidence["by_version"]),
        "sources": format_slices(metric, evidence["by_source"]),
    }


def describe_drift_evidence(alarm: Alarm) -> Row:
    """Of features, or of errors: from the evidence alone."""
    evidence = alarm.evidence
    names = dict(
        ObservationSource.objects.filter(
            pk__in=[each["source"] for each in evidence.get("by_source") or ()]
        ).values_list("pk", "name")
    )
    labels = dict(DriftVerdict.choices)
    return {
        "is_drift": True,
        "drift": evidence,
        "features": format_features(evidence.get("features") or ()),
        "drift_sources": [
            {
                **each,
                "name": names.get(each["source"], each["source"]),
                "state": DRIFT_STATES[DriftVerdict(each["verdict"])],
                "word": labels[DriftVerdict(each["verdict"])],
            }
            for each in evidence.get("by_source") or ()
        ],
        "since": datetime.fromisoformat(evidence["window"]["since"]),
        "until": datetime.fromisoformat(evidence["window"]["until"]),
    }


def list_alarm_rows(alarms: Sequence[Alarm]) -> list[Row]:
    return [{"alarm": alarm, "colour": STATE_COLOURS[AlarmState(alarm.state)]} for alarm in alarms]


def build_period_filter(period: str) -> Row:
    choices = [("7d", _("Last 7 days")), ("30d", _("Last 30 days")), ("90d", _("Last 90 days"))]
    return {"name": "period", "label": _("Period"), "value": period, "choices": choices}


def get_period_days(period: str) -> int:
    return PERIODS[period].days


def get_state_choices() -> list[tuple[str, str]]:
    return [("", _("Every state")), *((value, str(label)) for value, label in MonitorState.choices)]
