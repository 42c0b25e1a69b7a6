"""What this machine has and how busy it is. Called by the worker; psutil and NVML are imported only when asked.

What a container or a CPU mask takes away counts as absent: a job that is placed by the board's numbers would be
killed by the cgroup's.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
SUPERVISOR = "supervisor"  # the leaf below a delegated cgroup that the worker itself is in (workers/cgroups.py)


@dataclass(frozen=True)
class Machine:
    """`cpus` may be fractional (a cgroup quota); sizes in bytes, whole; `facts` are for people to read."""

    host: str
    boot_id: str
    cpus: float
    memory_bytes: int
    disk_bytes: int
    gpus: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def detect(disk: Path | None = None) -> Machine:
    """This machine, with the file system that holds `disk`: the plane's home if None."""
    gpus, gpu_reason = detect_gpus()
    facts = {
        "processor": read_processor_name(),
        "architecture": platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "software": version("deepseek-offline"),
        "cpus_of_board": os.cpu_count() or 1,
        "driver": gpus[0]["driver"] if gpus else "",
        "gpu_reason": gpu_reason,
    }
    return Machine(
        host=socket.gethostname(),
        boot_id=read_boot_id(),
        cpus=get_usable_cpus(),
        memory_bytes=get_usable_memory(),
        disk_bytes=get_disk_space(disk)[0],
        gpus=gpus,
        facts=facts,
    )


def measure_load(disk: Path | None = None, store: Path | None = None) -> dict[str, Any]:
    """A snapshot for the heartbeat: CPU share since the last call (0 to 1), bytes free and in all, use of each GPU.

    `disk` is where the jobs' scratch lies, `store` the folder of the artifacts, if they are in one.
    """
    import psutil

    free, total = measure_memory()
    return {
        "cpu_share": round(psutil.cpu_percent(interval=None) / 100, 3),
        "load_1m": round(os.getloadavg()[0], 2),
        "memory_free_bytes": free,
        "memory_total_bytes": total,
        **measure_disks(disk, store),
        "gpus": measure_gpus(),
    }


def measure_memory() -> tuple[int, int]:
    """Bytes of memory that are free, whoever has the rest, and in all: of this process's cgroup, else the machine."""
    import psutil

    available, total = int(psutil.virtual_memory().available), get_usable_memory()
    used_by_group = read_cgroup_number("memory.current")
    return available if used_by_group is None else max(0, min(available, total - int(used_by_group))), total


def measure_disks(disk: Path | None = None, store: Path | None = None) -> dict[str, int | None]:
    """Bytes free and in all where the jobs' scratch and the artifacts lie, as in `load`."""
    disk_total, disk_free = measure_disk(disk)
    store_total, store_free = measure_disk(store) if store else (None, None)
    return {
        "disk_free_bytes": disk_free,
        "disk_total_bytes": disk_total,
        "store_free_bytes": store_free,
        "store_total_bytes": store_total,
    }


def measure_disk(folder: Path | None) -> tuple[int | None, int | None]:
    """As `disk_space`; None for a file system that does not answer, which must not silence the heartbeat."""
    try:
        return get_disk_space(folder)
    except OSError:
        return None, None


def get_usable_cpus() -> float:
    """CPUs of this process's mask, cut to the tightest `cpu.max` of its cgroups; at least a tenth."""
    mask = float(len(os.sched_getaffinity(0)))
    return max(0.1, min([mask, *iter_cpu_quotas()]))


def iter_cpu_quotas() -> Iterator[float]:
    for text in iter_cgroup_values("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota != "max" and quota.isdigit() and period.isdigit() and int(period):
            yield round(int(quota) / int(period), 2)


def get_usable_memory() -> int:
    """Bytes of memory, cut to the tightest `memory.max` of this process's cgroups."""
    import psutil

    limits = [int(text) for text in iter_cgroup_values("memory.max") if text.isdigit()]
    return min([int(psutil.virtual_memory().total), *limits])


def iter_cgroup_folders() -> Iterator[Path]:
    """The cgroup v2 folders that bind this process, its own first. None on cgroup v1."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None:
        return
    folder = CGROUP_ROOT / own.lstrip("/")
    if folder.name == SUPERVISOR:  # has no limits; what the jobs beside it count, the one above has too
        folder = folder.parent
    while True:
        yield folder
        if folder == CGROUP_ROOT or CGROUP_ROOT not in folder.parents:
            return
        folder = folder.parent


def iter_cgroup_values(name: str) -> Iterator[str]:
    for folder in iter_cgroup_folders():
        try:
            yield (folder / name).read_text().strip()
        except OSError:
            continue  # the root has no limits, and a container may hide its parents


def read_cgroup_number(name: str) -> int | None:
    return next((int(text) for text in iter_cgroup_values(name) if text.isdigit()), None)


def count_oom_kills() -> int:
    """Processes that the kernel has killed for want of memory so far: in this cgroup, else on the whole machine."""
    for text in (*iter_cgroup_values("memory.events"), *read_vmstat()):
        for line in text.splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0


def read_vmstat() -> Iterator[str]:
    try:
        yield (PROC / "vmstat").read_text()
    except OSError:
        return


def get_disk_space(disk: Path | None) -> tuple[int, int]:
    """(total, free for an ordinary user) bytes of the file system of the nearest folder above `disk` that exists."""
    folder = disk or Path(settings.PLANE_HOME)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    stats = os.statvfs(folder)
    return stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize


def read_boot_id() -> str:
    """The kernel's name of this boot: a process id means nothing without it. Empty where there is none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_processor_name() -> str:
    try:
        for line in (PROC / "cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def detect_gpus() -> tuple[list[dict[str, Any]], str]:
    """The GPUs as the driver lists them, and why there are none (empty where there are some)."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return [], "nvidia-ml-py is not installed"
    except Exception as failure:  # noqa: BLE001 - NVML's errors are made at run time, by number
        return [], decode_text(str(failure)) or type(failure).__name__
    try:
        driver = decode_text(pynvml.nvmlSystemGetDriverVersion())
        gpus = [read_gpu_facts(pynvml, index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except Exception as failure:  # noqa: BLE001 - a card that fell off the bus: the node still serves CPU jobs
        return [], decode_text(str(failure)) or type(failure).__name__
    finally:
        pynvml.nvmlShutdown()
    return gpus, "" if gpus else "the driver lists no GPU"


def read_gpu_facts(nvml: Any, index: int, driver: str) -> dict[str, Any]:
    card = nvml.nvmlDeviceGetHandleByIndex(index)
    return {
        "index": index,
        "name": decode_text(nvml.nvmlDeviceGetName(card)),
        "memory_bytes": int(nvml.nvmlDeviceGetMemoryInfo(card).total),
        "driver": driver,
        "uuid": decode_text(nvml.nvmlDeviceGetUUID(card)),
    }


def measure_gpus() -> list[dict[str, Any]]:
    """Share of time busy (0 to 1), bytes free and in all, and degrees Celsius of each GPU; empty where the driver does
    not answer.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - absent package or driver: there is nothing to tell
        return []
    try:
        return [measure_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001 - a heartbeat must not fail for a card that hangs
        return []
    finally:
        pynvml.nvmlShutdown()


def measure_gpu(nvml: Any, index: int) -> dict[str, Any]:
    card = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(card)
    busy = query_nvml(nvml, lambda: round(nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100, 3))
    return {
        "index": index,
        "busy": busy,
        "memory_free_bytes": int(memory.free),
        "memory_bytes": int(memory.total),
        "temperature": query_nvml(nvml, lambda: int(nvml.nvmlDeviceGetTemperature(card, 0))),  # 0: of the chip
    }


def query_nvml(nvml: Any, ask: Callable[[], Any]) -> Any:
    """What the card answers; None where it does not tell: one cut into instances (MIG) hides how busy it is."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


def decode_text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
