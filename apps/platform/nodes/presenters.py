"""How pages show nodes: rows that sort by what is free, and the lines of what was used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.platform.nodes.disks import describe_short_disks
from apps.platform.nodes.models import ONLINE_SECONDS
from apps.platform.nodes.samples import MEANT, OF_GPUS, Asked, asked_of, database_now

STATES = ("online", "draining", "held", "offline")  # from the nearest to taking jobs
MOST_NODES = 2000  # that the list sorts; a fleet beyond it is narrowed by a filter first
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
STEPS = {"1h": "30", "24h": "900", "7d": "7200"}  # seconds between two points of a drawn line
GAP_STEPS = 2.5  # a longer silence breaks a line
COLUMNS = ("at", *MEANT)

Point = tuple[datetime, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Measure:
    """What running jobs have claimed of one thing a node has; `measured` is what is in use whoever uses it."""

    name: str
    used: float
    whole: float
    unit: str = ""  # bytes, or a mere count
    measured: float | None = None

    @property
    def free(self) -> float:
        return max(0, self.whole - self.used)


@dataclass(frozen=True, slots=True)
class Row:
    """A node as lists show it."""

    node: Any
    cpus: Measure
    memory: Measure
    gpus: Measure
    gpu_memory: Measure
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
    def measures(self) -> list[Measure]:
        return [self.cpus, self.memory, *([self.gpus, self.gpu_memory] if self.gpus.whole else [])]


def not_heard_of(path: str) -> Q:
    """Of rows that may lead to a node by `path`: that it is offline, as `with_status` has it."""
    field, near = f"{path}__heartbeat_at", timedelta(seconds=ONLINE_SECONDS)
    silent = Q(**{f"{field}__lt": Now() - near}) | Q(**{f"{field}__gt": Now() + near})
    return silent | Q(**{f"{path}__isnull": False, field: None})


def row_of(node: Any) -> Row:
    load, gpus = node.load or {}, node.gpus or []
    whole, free = load.get("memory_total_bytes"), load.get("memory_free_bytes")
    cards = [gpu for gpu in load.get("gpus", []) if "memory_bytes" in gpu]
    share = load.get("cpu_share")
    return Row(
        node=node,
        cpus=Measure(_("CPUs"), node.used_cpus, node.cpus, "", share),
        memory=Measure(
            _("Memory"),
            node.used_memory_bytes,
            node.memory_bytes,
            "bytes",
            (whole - free) / whole if whole and free is not None else None,
        ),
        gpus=Measure(_("GPUs"), node.used_gpus, len(gpus), "", busy_of(load)),
        gpu_memory=Measure(
            _("GPU memory in use"),
            sum(card["memory_bytes"] - card["memory_free_bytes"] for card in cards),
            sum(gpu["memory_bytes"] for gpu in gpus),
            "bytes",
        ),
        disk_free=load.get("disk_free_bytes"),
        software=str((node.hardware or {}).get("software", "")),
    )


def row_now(node: Any) -> Row:
    """As `row_of`, without what an offline node measured last: that is not what is in use now."""
    row = row_of(node)
    if row.state != "offline":
        return row
    cpus, memory, gpus = (replace(one, measured=None) for one in (row.cpus, row.memory, row.gpus))
    return replace(
        row, cpus=cpus, memory=memory, gpus=gpus, gpu_memory=replace(row.gpu_memory, used=0, whole=0), disk_free=None
    )


def busy_of(load: Mapping[str, Any]) -> float | None:
    """How busy the GPUs are together; None where none of them tells."""
    known = [gpu["busy"] for gpu in load.get("gpus", []) if gpu.get("busy") is not None]
    return sum(known) / len(known) if known else None


# -- lines ----------------------------------------------------------------------------------------------------------
def span_of(text: str, *, drawn: bool = True) -> tuple[str, Asked]:
    """The stretch of time that a page shows, by its name in the query; the last hour for one that there is not. What
    is drawn has about a hundred points, a file as many as there may be.
    """
    name = text if text in SPANS else "1h"
    now = database_now()
    over = {"from": (now - SPANS[name]).isoformat(), "to": now.isoformat()}
    return name, asked_of({**over, "step": STEPS[name]} if drawn else over)


def lines(points: Sequence[Point], asked: Asked, value: Callable[[Mapping[str, Any]], float | None]) -> list[Any]:
    """(second, value) of each point; where nothing was measured for long, the line is broken."""
    found: list[tuple[float, float | None]] = []
    for at, told in points:
        second = at.timestamp()
        if found and second - found[-1][0] > GAP_STEPS * asked.step:
            found.append((found[-1][0] + asked.step, None))
        found.append((second, value(told)))
    return found


def scaled(key: str, factor: float) -> Callable[[Mapping[str, Any]], float | None]:
    def value(told: Mapping[str, Any]) -> float | None:
        return None if told.get(key) is None else told[key] * factor

    return value


def of_gpu(index: int, key: str, factor: float) -> Callable[[Mapping[str, Any]], float | None]:
    take = scaled(key, factor)

    def value(told: Mapping[str, Any]) -> float | None:
        card = next((gpu for gpu in told["gpus"] if gpu["index"] == index), None)
        return take(card) if card else None

    return value


def charts_of(points: Sequence[Point], asked: Asked, csv: str) -> list[dict[str, Any]]:
    """The lines of a node's page: each with its title and the last value measured, in the unit of the axis."""
    giga, cent = 1e-9, 100.0
    disk = [(_("Scratch"), scaled("disk_used_bytes", giga)), (_("Store"), scaled("store_used_bytes", giga))]
    if all(told["disk_used_bytes"] == told["store_used_bytes"] for _at, told in points):  # both on one disk
        disk = [(_("Scratch and store"), disk[0][1])]
    found = [
        ("cpu", _("CPU in use"), "%", [(_("CPU"), scaled("cpu_share", cent))]),
        ("memory", _("Memory in use"), "GB", [(_("Memory"), scaled("memory_used_bytes", giga))]),
        ("disk", _("Disk in use"), "GB", disk),
        ("jobs", _("Jobs that run"), _("jobs"), [(_("Running"), scaled("running_jobs", 1))]),
    ]
    indexes = sorted({gpu["index"] for _at, told in points for gpu in told["gpus"]})
    if indexes:
        for key, title, unit, column, factor in (
            ("gpu", _("GPUs busy"), "%", "busy", cent),
            ("gpu-memory", _("GPU memory in use"), "GB", "memory_used_bytes", giga),
            ("gpu-heat", _("GPU temperature"), "°C", "temperature", 1),
        ):
            named = [(_("GPU %(index)d") % {"index": index}, of_gpu(index, column, factor)) for index in indexes]
            found.append((key, title, unit, named))
    return [chart_of(key, title, unit, named, points, asked, csv) for key, title, unit, named in found]


def chart_of(
    key: str, title: str, unit: str, named: Sequence[Any], points: Sequence[Point], asked: Asked, csv: str
) -> dict[str, Any]:
    series = [{"label": label, "points": lines(points, asked, value)} for label, value in named]
    known = [one for one in series if any(value is not None for _, value in one["points"])]
    return {
        "title": title,
        "key": key,
        "chart": {
            "id": f"over-{key}",
            "series": known or series,
            "axis": "time",
            "span": (asked.start.timestamp(), asked.end.timestamp()),
            "x_unit": _("time"),
            "y_unit": unit,
            "holding": (0.0, 100.0) if unit == "%" else (0.0,),
            "whole": key == "jobs",
            "csv": csv,
            "small": True,
        },
    }


def table_of(points: Sequence[Point]) -> list[list[Any]]:
    """The samples as rows of a file, a column for each figure of each GPU."""
    indexes = sorted({gpu["index"] for _, told in points for gpu in told["gpus"]})
    head = [*COLUMNS, *(f"gpu{index}_{name}" for index in indexes for name in OF_GPUS)]
    rows: list[list[Any]] = [head]
    for at, told in points:
        cards = {gpu["index"]: gpu for gpu in told["gpus"]}
        figures = [cards.get(index, {}).get(name) for index in indexes for name in OF_GPUS]
        rows.append([at.isoformat(), *(told[name] for name in COLUMNS[1:]), *figures])
    return rows
