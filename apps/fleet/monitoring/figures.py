"""What a monitor reads: figures of hours by the index of version and hour, in a few statements whatever the traffic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, CharField, Count, Max, Sum, Value, When
from django.db.models.functions import Concat

from apps.core.errors import Invalid
from apps.fleet.devices.filters import filter_devices
from apps.fleet.devices.models import Device, DeviceGroup, DeviceLabel
from apps.fleet.monitoring.measures import find_recorded, measure
from apps.fleet.monitoring.models import Monitor
from apps.fleet.monitoring.states import Measure
from apps.ml.observations.models import ClassCount, HourFigures, HourFiguresQuerySet
from apps.ml.observations.queries import Figures, build_figures, build_sums
from apps.ml.registry.models import ModelVersion
from deepseek.drift.estimates import ClassTotals, Estimate

COUNTS = ("predicted", "labelled", "correct")
MAX_LABELS = 20_000  # of the devices that answered
MAX_GROUPS = 8
LISTED_SOURCES = 50  # of an alarm's evidence, the worst first


@dataclass(frozen=True, slots=True)
class Slice:
    """The figures of a version, a source or the whole window, with the metric."""

    key: Any
    figures: Figures
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """One window: the whole, and by version, the one with the most labelled answers first."""

    whole: Slice
    by_version: list[Slice] = field(default_factory=list)


def read_window(monitor: Monitor, since: datetime, until: datetime) -> WindowFigures:
    """The figures of the hours from `since` to `until`: two statements, of F1 three."""
    rows = filter_hours(monitor, since, until)
    slices = read_slices(monitor, rows, "version_id")
    slices.sort(key=lambda each: (-each.figures.scored, -each.figures.predictions, -each.key))
    return WindowFigures(read_whole(monitor, rows, slices), slices)


def read_whole(monitor: Monitor, rows: HourFiguresQuerySet, slices: list[Slice]) -> Slice:
    """The sum of the slices by version; classes of a version are other rows, so F1 is of their sum."""
    figures = add_figures([each.figures for each in slices])
    classes = read_classes(rows, None)[None] if monitor.metric == Measure.F1 else {}
    return Slice(None, figures, measure(monitor.metric, figures, classes.values()))


def add_figures(parts: Sequence[Figures]) -> Figures:
    """Of all parts together: of the task that all have, else of none."""
    names = [name for name in Figures.__dataclass_fields__ if not name.startswith(("is_", "latency_us_max"))]
    sums = {name: sum(getattr(each, name) for each in parts) for name in names}
    tasks = {
        "is_classification": bool(parts) and all(each.is_classification for each in parts),
        "is_regression": bool(parts) and all(each.is_regression for each in parts),
    }
    return Figures(**sums, **tasks)


def read_attribute_slices(monitor: Monitor, rows: HourFiguresQuerySet, by_source: Sequence[Slice]) -> list[Slice]:
    """The figures by group and by attribute or tag of the devices that answered, from those of their sources."""
    figures = {part.key: part.figures for part in by_source}
    members: defaultdict[str, set[int]] = defaultdict(set)
    devices = Device.objects.filter(project=monitor.project_id)
    value = Case(When(value="", then=Value("")), default=Concat(Value("="), "value"))
    labels = DeviceLabel.objects.filter(device__in=devices.filter(source__in=figures)).order_by()
    inside = [
        filter_devices(devices, monitor.project_id, group.query)
        .filter(source__in=figures)
        .order_by()
        .annotate(member_of=Value(group.name, output_field=CharField()))
        .values_list("member_of", "source_id")
        for group in DeviceGroup.objects.filter(project=monitor.project_id).order_by("name")[:MAX_GROUPS]
    ]
    matching = labels.annotate(member_of=Concat("key", value, output_field=CharField()))
    for name, source in matching.values_list("member_of", "device__source_id").union(*inside)[:MAX_LABELS]:
        members[name].add(source)
    classes = read_classes(rows, "source_id") if monitor.metric == Measure.F1 and members else {}
    slices = []
    for name, sources in members.items():
        if not sources:
            continue
        total = add_figures([figures[source] for source in sorted(sources)])
        merged = merge_classes([classes.get(source, {}) for source in sources])
        slices.append(Slice(name, total, measure(monitor.metric, total, merged)))
    return slices


def merge_classes(parts: Iterable[Mapping[str, ClassTotals]]) -> Iterable[ClassTotals]:
    merged: dict[str, ClassTotals] = {}
    for part in parts:
        for name, each in part.items():
            into = merged.setdefault(name, ClassTotals())
            into.predicted += each.predicted
            into.labelled += each.labelled
            into.correct += each.correct
    return merged.values()


def read_slices(monitor: Monitor, rows: HourFiguresQuerySet, by: str) -> list[Slice]:
    """The figures by one column. What has sources of several tasks is of none, and has no metric."""
    tasks = {"task": Max("source__task"), "tasks": Count("source__task", distinct=True)}
    grouped = rows.order_by().values(by).annotate(**build_sums(), **tasks)
    classes = read_classes(rows, by) if monitor.metric == Measure.F1 else {}
    slices = []
    for row in grouped:
        figures = build_figures(row, {row["task"]} if row["tasks"] == 1 else set())
        estimate = measure(monitor.metric, figures, classes.get(row[by], {}).values())
        slices.append(Slice(row[by], figures, estimate))
    return slices


def read_classes(rows: HourFiguresQuerySet, by: str | None) -> Mapping[Any, Mapping[str, ClassTotals]]:
    """{value of the column: {class: its totals}}; of None everything together."""
    fields = ["name", *([f"figures__{by}"] if by else [])]
    counts = ClassCount.objects.filter(figures__in=rows.order_by().values("pk")).order_by()
    grouped = counts.values(*fields).annotate(**{f"all_{name}": Sum(name) for name in COUNTS})
    totals: defaultdict[Any, dict[str, ClassTotals]] = defaultdict(dict)
    for row in grouped:
        values = {name: row[f"all_{name}"] or 0 for name in COUNTS}
        totals[row[f"figures__{by}"] if by else None][row["name"]] = ClassTotals(**values)
    return totals


def filter_hours(monitor: Monitor, since: datetime, until: datetime) -> HourFiguresQuerySet:
    """The rows of a monitor's model, source or group of devices; shadows are compared elsewhere."""
    versions = ModelVersion.objects.filter(model=monitor.model_id).values("pk")
    rows = HourFigures.objects.filter(version__in=versions, hour__gte=since, hour__lt=until, is_shadow=False)
    return rows.filter(**build_scope(monitor))


def build_scope(monitor: Monitor) -> dict[str, Any]:
    """What narrows rows of sources to a monitor's own: its source, or those of its group of devices as it is now."""
    if monitor.source_id:
        return {"source": monitor.source_id}
    if monitor.group:
        group = DeviceGroup.objects.filter(project=monitor.project_id, name=monitor.group).first()
        if group is None:
            raise Invalid("This project has no group {name!r}.", name=monitor.group, field="group")
        devices = filter_devices(Device.objects.filter(project=monitor.project_id), monitor.project_id, group.query)
        return {"source__in": devices.exclude(source=None).values("source_id")}
    return {}


def find_last_hour(monitor: Monitor, since: datetime) -> datetime | None:
    """The start of the last hour with an answer, not looked for before `since`."""
    rows = filter_hours(monitor, since, since + timedelta(days=3660))
    last: datetime | None = rows.aggregate(last=Max("hour"))["last"]
    return last


def find_reference(monitor: Monitor, version_id: int | None) -> float | None:
    """The given reference, else what a version was registered with."""
    if monitor.reference is not None:
        return monitor.reference
    if version_id is None:
        return None
    recorded = ModelVersion.objects.filter(pk=version_id).values_list("metrics", flat=True).first()
    return find_recorded(monitor.metric, recorded or ())
