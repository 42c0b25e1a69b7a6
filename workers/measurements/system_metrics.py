"""What the machine and the processes of an attempt did while it ran, as metrics of its run beside what it learned.

The names are MLflow's (`system/cpu_utilization_percentage`, `system/gpu_0_memory_usage_megabytes`), a megabyte is 10^6
bytes. What MLflow has no name for is named alike: `system/process_...` is of the attempt's own processes, and there 100
per cent is one CPU. The step is the second of the run. None of it is in the digest of the run: series.digest_of_all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import psutil

from apps.ml.experiments.metrics.series import SYSTEM
from apps.platform.jobs.models import Job
from workers.tracking import Tracker

log = logging.getLogger(__name__)

DENSE = 720  # samples of the first hour; behind it they lie further and further apart, a week has about 4,400
MEGA = 1e6
Sample = Iterator[tuple[str, float | None]]


class SystemMetrics:
    """The samples of one attempt. `offer` is called by the heartbeat, everything else by the attempt's own thread."""

    def __init__(self, job: Job, tracker: Tracker, pid: int) -> None:
        self.job, self.tracker, self.pid = job, tracker, pid
        self.load: Mapping[str, Any] | None = None
        self.began = self.sampled_at = time.monotonic()
        self.cpu_seconds = 0.0
        self.network = read_network_bytes()

    def offer(self, load: Mapping[str, Any]) -> None:
        """The node's load as the heartbeat has just measured it; an older one that nobody took is forgotten."""
        self.load = load

    def advance(self) -> None:
        """Keep a sample if one is due. What goes wrong costs this sample and nothing else."""
        load, now = self.load, time.monotonic()
        run = self.tracker.run
        if load is None or run is None or now - self.sampled_at < (now - self.began) / DENSE:
            return
        self.load = None
        try:
            values = [
                *measure_node(load),
                *measure_gpus(load, self.job.devices),
                *self.measure_processes(now),
                *self.measure_network(),
            ]
            at = time.time()
            self.tracker.log(build_points(values, count_seconds(run.started_at, at), at))
        except Exception as failure:  # noqa: BLE001 - whatever it is: the job goes on
            log.warning("job %s: no sample of the machine: %s", self.job.pk, failure)
        finally:
            self.sampled_at = now

    def measure_processes(self, now: float) -> Sample:
        """CPU since the last sample and memory now, of the shim and everything below it."""
        used, resident = measure_tree(self.pid)
        share = (used - self.cpu_seconds) / max(now - self.sampled_at, 1e-3)
        self.cpu_seconds = used
        yield "process_cpu_utilization_percentage", max(0.0, share * 100)
        yield "process_memory_usage_megabytes", resident / MEGA

    def measure_network(self) -> Sample:
        """Of the whole node, since the attempt began."""
        for name, now, before in zip(("receive", "transmit"), read_network_bytes(), self.network, strict=True):
            yield f"network_{name}_megabytes", max(0, now - before) / MEGA


def build_points(values: Iterable[tuple[str, float | None]], step: int, at: float) -> Sequence[Mapping[str, Any]]:
    """Metrics as an engine would tell them; what is not known is left out."""
    return [
        {"name": f"{SYSTEM}{name}", "value": round(value, 3), "step": step, "at": at}
        for name, value in values
        if value is not None
    ]


def count_seconds(start: datetime, at: float) -> int:
    """Whole seconds since the run began; a clock that is behind the one it began by says 0."""
    return max(0, int(at - start.timestamp()))


# -- what is measured -----------------------------------------------------------------------------------------------
def measure_node(load: Mapping[str, Any]) -> Sample:
    share = load.get("cpu_share")
    yield "cpu_utilization_percentage", None if share is None else share * 100
    for name, prefix in (("memory", "system_memory"), ("disk", "disk")):
        total, free = load.get(f"{name}_total_bytes"), load.get(f"{name}_free_bytes")
        if not total or free is None:
            continue
        yield f"{prefix}_usage_megabytes", max(0, total - free) / MEGA
        yield f"{prefix}_usage_percentage", max(0, total - free) / total * 100
        if name == "disk":
            yield "disk_available_megabytes", free / MEGA


def measure_gpus(load: Mapping[str, Any], devices: Sequence[int]) -> Sample:
    """Of the GPUs that the job holds, by the driver's number of each."""
    for gpu in load.get("gpus") or ():
        if gpu.get("index") not in devices:
            continue
        name, total, free = f"gpu_{gpu['index']}", gpu.get("memory_bytes"), gpu.get("memory_free_bytes")
        busy, heat = gpu.get("busy"), gpu.get("temperature")
        yield f"{name}_utilization_percentage", None if busy is None else busy * 100
        if total and free is not None:
            yield f"{name}_memory_usage_megabytes", (total - free) / MEGA
            yield f"{name}_memory_usage_percentage", (total - free) / total * 100
        yield f"{name}_temperature_celsius", heat


def measure_tree(pid: int) -> tuple[float, int]:
    """(CPU seconds, bytes resident) of a process and what it started; memory that two share counts twice.

    A process counts what its ended children used once it has waited for them. One that ends meanwhile counts nothing.
    """
    seconds, resident = 0.0, 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0, 0
    for process in processes:
        try:
            times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
        resident += memory.rss
    return seconds, resident


def read_network_bytes() -> tuple[int, int]:
    """(received, sent) by this machine since it started; zeros where it does not tell."""
    try:
        counted = psutil.net_io_counters()
    except (psutil.Error, OSError):
        counted = None
    return (counted.bytes_recv, counted.bytes_sent) if counted else (0, 0)
