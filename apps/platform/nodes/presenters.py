"""Presentation of nodes: list rows that sort by free resources, and utilisation charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.platform.nodes.disk_speed import REFERENCE_BYTES_PER_SECOND
from apps.platform.nodes.disks import describe_short_disks
from apps.platform.nodes.models import ONLINE_SECONDS
from apps.platform.nodes.samples import GPU_MEAN_COLUMNS, MEAN_COLUMNS, TimeWindow, get_database_now, parse_time_window

STATES = ("online", "draining", "held", "offline")  # from the nearest to taking jobs
MAX_NODES = 2000  # that the list sorts; a fleet beyond it is narrowed by a filter first
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
STEPS = {"1h": "30", "24h": "900", "7d": "7200"}  # seconds between two points of a drawn line
GAP_STEPS = 2.5  # a longer silence breaks a line
COLUMNS = ("at", *MEAN_COLUMNS)

Point = tuple[datetime, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What running jobs have claimed of one thing a node has; `measured` is what is in use whoever uses it."""

    name: str
    used: float
    total: float
    unit: str = ""  # bytes, or a mere count
    measured: float | None = None

    @property
    def free(self) -> float:
        return max(0, self.total - self.used)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as lists show it."""

    node: Any
    cpus: ResourceUsage
    memory: ResourceUsage
    gpus: ResourceUsage
    gpu_memory: ResourceUsage
    disk_free: float | None
    software: str

    @property
    def state(self) -> str:
        """The status, where a held node that still runs something is draining."""
        return "draining" if self.node.status == "held" and self.node.running_jobs else str(self.node.status)

    @property
    def short_disks(self) -> str:
        """What keeps the node from taking jobs for want of disk; of one that is offline nothing is known."""
        return "" if self.node.status == "offline" else describe_short_disks(self.node.short_disks)

    @property
    def failed_checks(self) -> str:
        """The required checks of its doctor that keep the node from taking jobs."""
        return ", ".join(self.node.failed_checks)

    @property
    def measures(self) -> list[ResourceUsage]:
        return [self.cpus, self.memory, *([self.gpus, self.gpu_memory] if self.gpus.total else [])]


@dataclass(frozen=True, slots=True)
class DiskRate:
    """A measured rate of the jobs' disk, in GB/s, beside the reference for reading."""

    label: str
    rate: float
    share: str = ""  # of the reference


def build_disk_rates(node: Any) -> list[DiskRate]:
    """What was measured of the node's disk; empty where nothing was."""
    speed = node.disk_speed or {}
    if not speed.get("read_bytes_per_second"):
        return []
    read = speed["read_bytes_per_second"]
    return [
        DiskRate(_("Reads"), read / 1e9, f"{read / REFERENCE_BYTES_PER_SECOND:.0%}"),
        DiskRate(_("Writes"), speed["write_bytes_per_second"] / 1e9),
        DiskRate(_("Reference for reading (NVMe RAID 0)"), REFERENCE_BYTES_PER_SECOND / 1e9),
    ]


def build_offline_filter(path: str) -> Q:
    """Of rows that may lead to a node by `path`: that it is offline, as `with_status` has it."""
    field, near = f"{path}__heartbeat_at", timedelta(seconds=ONLINE_SECONDS)
    silent = Q(**{f"{field}__lt": Now() - near}) | Q(**{f"{field}__gt": Now() + near})
    return silent | Q(**{f"{path}__isnull": False, field: None})


def build_row(node: Any) -> NodeRow:
    load, gpus = node.load or {}, node.gpus or []
    total_memory, free = load.get("memory_total_bytes"), load.get("memory_free_bytes")
    cards = [gpu for gpu in load.get("gpus", []) if "memory_bytes" in gpu]
    share = load.get("cpu_share")
    return NodeRow(
        node=node,
        cpus=ResourceUsage(_("CPUs"), node.used_cpus, node.cpus, "", share),
        memory=ResourceUsage(
            _("Memory"),
            node.used_memory_bytes,
            node.memory_bytes,
            "bytes",
            (total_memory - free) / total_memory if total_memory and free is not None else None,
        ),
        gpus=ResourceUsage(_("GPUs"), node.used_gpus, len(gpus), "", compute_gpu_busy(load)),
        gpu_memory=ResourceUsage(
            _("GPU memory in use"),
            sum(card["memory_bytes"] - card["memory_free_bytes"] for card in cards),
            sum(gpu["memory_bytes"] for gpu in gpus),
            "bytes",
        ),
        disk_free=load.get("disk_free_bytes"),
        software=str((node.hardware or {}).get("software", "")),
    )


def build_current_row(node: Any) -> NodeRow:
    """As `row_of`, without what an offline node measured last: that is not what is in use now."""
    row = build_row(node)
    if row.state != "offline":
        return row
    cpus, memory, gpus = (replace(usage, measured=None) for usage in (row.cpus, row.memory, row.gpus))
    return replace(
        row, cpus=cpus, memory=memory, gpus=gpus, gpu_memory=replace(row.gpu_memory, used=0, total=0), disk_free=None
    )


def compute_gpu_busy(load: Mapping[str, Any]) -> float | None:
    """How busy the GPUs are together; None where none of them tells."""
    shares = [gpu["busy"] for gpu in load.get("gpus", []) if gpu.get("busy") is not None]
    return sum(shares) / len(shares) if shares else None


# -- lines ----------------------------------------------------------------------------------------------------------
def parse_span(text: str, *, for_chart: bool = True) -> tuple[str, TimeWindow]:
    """The stretch of time that a page shows, by its name in the query; the last hour for one that there is not. What
    is drawn has about a hundred points, a file as many as there may be.
    """
    name = text if text in SPANS else "1h"
    now = get_database_now()
    over = {"from": (now - SPANS[name]).isoformat(), "to": now.isoformat()}
    return name, parse_time_window({**over, "step": STEPS[name]} if for_chart else over)


def build_line(
    points: Sequence[Point], window: TimeWindow, value: Callable[[Mapping[str, Any]], float | None]
) -> list[Any]:
    """(second, value) of each point; where nothing was measured for long, the line is broken."""
    line: list[tuple[float, float | None]] = []
    for at, columns in points:
        second = at.timestamp()
        if line and second - line[-1][0] > GAP_STEPS * window.step:
            line.append((line[-1][0] + window.step, None))
        line.append((second, value(columns)))
    return line


def build_scaled_getter(key: str, factor: float) -> Callable[[Mapping[str, Any]], float | None]:
    def value(told: Mapping[str, Any]) -> float | None:
        return None if told.get(key) is None else told[key] * factor

    return value


def build_gpu_getter(index: int, key: str, factor: float) -> Callable[[Mapping[str, Any]], float | None]:
    get_value = build_scaled_getter(key, factor)

    def value(told: Mapping[str, Any]) -> float | None:
        card = next((gpu for gpu in told["gpus"] if gpu["index"] == index), None)
        return get_value(card) if card else None

    return value


def build_charts(points: Sequence[Point], window: TimeWindow, csv: str) -> list[dict[str, Any]]:
    """The lines of a node's page: each with its title and the last value measured, in the unit of the axis."""
    giga, cent = 1e-9, 100.0
    disk = [
        (_("Scratch"), build_scaled_getter("disk_used_bytes", giga)),
        (_("Store"), build_scaled_getter("store_used_bytes", giga)),
    ]
    if all(columns["disk_used_bytes"] == columns["store_used_bytes"] for _at, columns in points):  # both on one disk
        disk = [(_("Scratch and store"), disk[0][1])]
    charts = [
        ("cpu", _("CPU in use"), "%", [(_("CPU"), build_scaled_getter("cpu_share", cent))]),
        ("memory", _("Memory in use"), "GB", [(_("Memory"), build_scaled_getter("memory_used_bytes", giga))]),
        ("disk", _("Disk in use"), "GB", disk),
        ("jobs", _("Running jobs"), _("jobs"), [(_("Running"), build_scaled_getter("running_jobs", 1))]),
    ]
    indexes = sorted({gpu["index"] for _at, columns in points for gpu in columns["gpus"]})
    if indexes:
        for key, title, unit, column, factor in (
            ("gpu", _("GPUs busy"), "%", "busy", cent),
            ("gpu-memory", _("GPU memory in use"), "GB", "memory_used_bytes", giga),
            ("gpu-heat", _("GPU temperature"), "°C", "temperature", 1),
        ):
            series = [
                (_("GPU %(index)d") % {"index": index}, build_gpu_getter(index, column, factor)) for index in indexes
            ]
            charts.append((key, title, unit, series))
    return [build_chart(key, title, unit, series, points, window, csv) for key, title, unit, series in charts]


def build_chart(
    key: str, title: str, unit: str, getters: Sequence[Any], points: Sequence[Point], window: TimeWindow, csv: str
) -> dict[str, Any]:
    series = [{"label": label, "points": build_line(points, window, value)} for label, value in getters]
    filled = [line for line in series if any(value is not None for _, value in line["points"])]
    return {
        "title": title,
        "key": key,
        "chart": {
            "id": f"over-{key}",
            "series": filled or series,
            "axis": "time",
            "span": (window.start.timestamp(), window.end.timestamp()),
            "x_unit": _("time"),
            "y_unit": unit,
            "holding": (0.0, 100.0) if unit == "%" else (0.0,),
            "whole": key == "jobs",
            "csv": csv,
            "small": True,
        },
    }


def build_sample_table(points: Sequence[Point]) -> list[list[Any]]:
    """The samples as rows of a file, a column for each figure of each GPU."""
    indexes = sorted({gpu["index"] for _, columns in points for gpu in columns["gpus"]})
    head = [*COLUMNS, *(f"gpu{index}_{name}" for index in indexes for name in GPU_MEAN_COLUMNS)]
    rows: list[list[Any]] = [head]
    for at, columns in points:
        cards = {gpu["index"]: gpu for gpu in columns["gpus"]}
        figures = [cards.get(index, {}).get(name) for index in indexes for name in GPU_MEAN_COLUMNS]
        rows.append([at.isoformat(), *(columns[name] for name in COLUMNS[1:]), *figures])
    return rows
