"""Shapes for the page of a source: its period, its charts by version, and the commands that send the first rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.request_values import validate_choice
from apps.ml.observations import queries
from apps.ml.observations.models import ObservationSource, Task
from apps.ml.observations.queries import Figures, Group, Period
from apps.ml.observations.services.batches import HOUR, floor_hour
from apps.platform.accounts.models import Project
from deepseek.drift.estimates import Estimate

DAY = timedelta(days=1)
PERIODS = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "90d": 90 * DAY}
DEFAULT_PERIOD = "1d"
MAX_LINES = 8  # versions that one chart draws, those with the most predictions
FILTERS = ("period", "version", "variant", "shadow")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the query of the page narrows."""

    period_name: str
    period: Period
    model: str
    number: int | None
    variant: str
    shadow: bool

    @property
    def version(self) -> str:
        return f"{self.model}:{self.number}" if self.number else ""

    def as_arguments(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.number, "variant": self.variant, "shadow": self.shadow}


def read_filters(values: Mapping[str, str]) -> Filters:
    """The filters of a query. Raises Invalid for a period or version that is none."""
    name = values.get("period", "") or DEFAULT_PERIOD
    validate_choice("period", name, PERIODS)
    model, colon, number = values.get("version", "").rpartition(":")
    if values.get("version") and not (model and colon and number.isdecimal() and len(number) < 10):
        raise Invalid("{text!r} is no version.", text=values["version"][:60], field="version", limit="MODEL:NUMBER")
    now = timezone.now()
    is_shadow = values.get("shadow", "") == "true"
    period = Period(floor_hour(now - PERIODS[name]) + HOUR, now)
    return Filters(name, period, model, int(number) if number else None, values.get("variant", ""), is_shadow)


def build_filter_bar(filters: Filters, versions: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    periods = [
        ("1d", _("Last 24 hours")),
        ("7d", _("Last 7 days")),
        ("30d", _("Last 30 days")),
        ("90d", _("Last 90 days")),
    ]
    choices = [("", _("Every version"))] + [(f"{name}:{number}", f"{name} v{number}") for name, number in versions]
    return [
        {"name": "period", "label": _("Period"), "value": filters.period_name, "choices": periods},
        {"name": "version", "label": _("Version"), "value": filters.version, "choices": choices},
        {"name": "variant", "label": _("Variant"), "value": filters.variant},
        {
            "name": "shadow",
            "label": _("Shadow"),
            "value": "true" if filters.shadow else "",
            "choices": [("", _("Returned answers")), ("true", _("Candidates in shadow"))],
        },
    ]


def build_overview(actor: Actor, source: ObservationSource, filters: Filters) -> dict[str, Any]:
    """Everything that the page draws; the number of queries does not depend on the period."""
    narrow = {"source": source.name, **filters.as_arguments()}
    where, period = source.project, filters.period
    is_hourly = filters.period_name == "1d"
    by = "hour_version" if is_hourly else "day_version"
    groups = queries.list_figures(actor, where, period, by=by, **narrow)
    versions = queries.list_figures(actor, where, period, by="version", **narrow)
    total = queries.get_period_figures(actor, where, period, **narrow)
    lines = choose_lines(groups)
    step, start = (HOUR, floor_hour(period.since)) if is_hourly else (DAY, period.since.replace(hour=0))
    return {
        "total": total,
        "quality_note": describe_quality(total),
        "versions": [describe_version(group) for group in versions],
        "rate": build_rate_chart(lines, start, period.until, step),
        "labelled": build_share_chart(lines),
        "quality": build_quality_chart(lines, source.task),
        "classes": queries.list_class_counts(actor, where, period, **narrow)
        if source.task == Task.CLASSIFICATION
        else [],
        "left_out": len({(group.model, group.version) for group in groups}) - len(lines),
        "step_word": _("per hour") if is_hourly else _("per day"),
    }


def describe_version(group: Group) -> dict[str, Any]:
    quality, figures = group.figures.quality, group.figures
    value = ""
    if quality is not None:
        value = f"{100 * quality.value:.1f} %" if figures.is_classification else f"{quality.value:.4g}"
    return {
        "model": group.model,
        "version": group.version,
        "figures": figures,
        "value": value,
        "interval": describe_quality(figures),
    }


def choose_lines(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """{name of the version: its groups in the order of time}, those with the most predictions."""
    by_version: dict[tuple[str, int], list[Group]] = defaultdict(list)
    for group in groups:
        by_version[group.model or "", group.version or 0].append(group)
    busiest = sorted(by_version, key=lambda key: -sum(group.figures.predictions for group in by_version[key]))
    return {f"{name} v{number}": by_version[name, number] for name, number in sorted(busiest[:MAX_LINES])}


def shorten(label: str, labels: Iterable[str]) -> str:
    """v3 of "wti v3", where all labels are of one model."""
    return label.rpartition(" ")[2] if len({each.rpartition(" ")[0] for each in labels}) == 1 else label


def build_rate_chart(
    lines: Mapping[str, Sequence[Group]], start: datetime, until: datetime, step: timedelta
) -> dict[str, Any] | None:
    if not lines:
        return None
    series = []
    for label, groups in lines.items():
        counts = {group.hour: group.figures.predictions for group in groups}
        points, at = [], start
        while at < until:
            points.append((at.timestamp(), counts.get(at, 0)))
            at += step
        series.append({"label": label, "short": shorten(label, lines), "points": points})
    unit = _("predictions")
    return {
        "id": "rate",
        "axis": "time",
        "series": series,
        "x_unit": _("time"),
        "y_unit": unit,
        "holding": (0,),
        "whole": True,
    }


def build_share_chart(lines: Mapping[str, Sequence[Group]]) -> dict[str, Any] | None:
    series = [
        {
            "label": label,
            "short": shorten(label, lines),
            "points": [
                (group.hour.timestamp(), 100 * group.figures.labelled_share)
                for group in groups
                if group.hour and group.figures.labelled_share is not None
            ],
        }
        for label, groups in lines.items()
    ]
    return (
        {"id": "labelled", "axis": "time", "series": series, "x_unit": _("time"), "y_unit": "%", "holding": (0, 100)}
        if lines
        else None
    )


def build_quality_chart(lines: Mapping[str, Sequence[Group]], task: str) -> dict[str, Any] | None:
    """Accuracy or absolute error, each with its interval as a band behind the line."""
    scale = 100 if task == Task.CLASSIFICATION else 1
    series = []
    for label, groups in lines.items():
        measured = [(group.hour, group.figures.quality) for group in groups]
        defined = [(at.timestamp(), metric) for at, metric in measured if at is not None and metric is not None]
        series.append(
            {
                "label": label,
                "short": shorten(label, lines),
                "points": [(at, scale * metric.value) for at, metric in defined],
                "band": build_band(defined, scale),
            }
        )
    if not any(line["points"] for line in series):
        return None
    unit = "%" if task == Task.CLASSIFICATION else _("absolute error")
    note = _("The band is the interval of 95 %.")
    return {
        "id": "quality",
        "axis": "time",
        "series": series,
        "x_unit": _("time"),
        "y_unit": unit,
        "note": note,
    }


def describe_quality(figures: Figures) -> str:
    """The interval in words, "" where there is none."""
    quality = figures.quality
    if quality is None or quality.low is None or quality.high is None:
        return ""
    if figures.is_classification:
        return _("%(low)s to %(high)s %%") % {"low": f"{100 * quality.low:.1f}", "high": f"{100 * quality.high:.1f}"}
    return _("%(low)s to %(high)s") % {"low": f"{quality.low:.4g}", "high": f"{quality.high:.4g}"}


def build_band(points: Sequence[tuple[float, Estimate]], scale: float) -> list[tuple[float, float, float]]:
    """The intervals of a line, without those of one row alone, which has none."""
    band = [
        (at, scale * estimate.low, scale * estimate.high)
        for at, estimate in points
        if estimate.low is not None and estimate.high is not None
    ]
    return band if len(band) > 1 else []


def build_commands(base: str, project: Project, source: ObservationSource) -> list[str]:
    """What sends a first prediction and its label, to copy."""
    at = timezone.now().replace(microsecond=0).isoformat()
    example: Any = {Task.REGRESSION: 57.3}.get(Task(source.task), "up")
    prediction = {"id": "p-1", "at": at, "model": "MODEL", "version": 1, "answer": example, "features": {"x": 1.5}}
    label = {"id": "p-1", "at": at, "label": example}
    return [
        build_curl(f"{base}/api/v1/projects/{project.slug}/observations/{name}", {"source": source.name, "rows": [row]})
        for name, row in (("predictions", prediction), ("labels", label))
    ]


def build_create_command(base: str, project: Project) -> str:
    body = {"name": "wti-live", "task": "regression"}
    return build_curl(f"{base}/api/v1/projects/{project.slug}/observations/sources", body)


def build_curl(address: str, body: Mapping[str, Any]) -> str:
    return (
        f'curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        f"-d '{json.dumps(body)}' {address}"
    )


def summarize_sources(actor: Actor, project: Project, sources: Sequence[ObservationSource]) -> list[dict[str, Any]]:
    """The rows of a page of the list with the figures of the last day; one query more."""
    now = timezone.now()
    period = Period(floor_hour(now - DAY) + HOUR, now)
    figures = queries.get_figures_of_sources(actor, project, period, [source.pk for source in sources])
    kinds, tasks = dict(list_kinds()), dict(list_tasks())
    return [
        {
            "source": source,
            "figures": figures.get(source.pk, Figures()),
            "kind": kinds[source.kind],
            "task": tasks[source.task],
        }
        for source in sources
    ]


def list_kinds() -> list[tuple[str, str]]:
    return [("endpoint", _("Endpoint")), ("device", _("Device"))]


def list_tasks() -> list[tuple[str, str]]:
    return [("classification", _("Classification")), ("regression", _("Regression")), ("other", _("Other"))]
