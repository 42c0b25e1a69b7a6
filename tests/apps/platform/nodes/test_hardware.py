"""What a machine has, against a made-up /proc and cgroup tree and a made-up NVML."""

import sys
from types import SimpleNamespace

import psutil
import pytest

from apps.platform.nodes import hardware


@pytest.fixture
def group(tmp_path, monkeypatch):
    """group(folder, **files) writes cgroup files; the process sits in /pod/job."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (root / "pod/job").mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("0::/pod/job\n")
    monkeypatch.setattr(hardware, "CGROUP_ROOT", root)
    monkeypatch.setattr(hardware, "PROC", proc)
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda pid: set(range(8)))

    def write(folder, **files):
        for name, value in files.items():
            (root / folder / name.replace("_", ".")).write_text(value)

    return write


@pytest.mark.parametrize(
    ("own", "parent", "cpus"),
    [("max 100000", "max 100000", 8), ("150000 100000", "max 100000", 1.5), ("400000 100000", "200000 100000", 2)],
)
def test_cpus_are_what_mask_and_groups_leave(group, own, parent, cpus):
    group("pod/job", cpu_max=own)
    group("pod", cpu_max=parent)
    assert hardware.get_usable_cpus() == cpus


@pytest.mark.parametrize(
    ("own", "parent", "left"), [("max", "max", None), ("max", "4096", 4096), ("2048", "4096", 2048)]
)
def test_memory_is_what_the_groups_leave(group, own, parent, left):
    group("pod/job", memory_max=own)
    group("pod", memory_max=parent)
    assert hardware.get_usable_memory() == (left or psutil.virtual_memory().total)


def test_leaf_of_the_worker_does_not_hide_what_its_jobs_count(group, tmp_path):
    (tmp_path / "cgroup/pod/job/supervisor").mkdir()
    group("pod/job/supervisor", memory_current="1", memory_events="oom_kill 0\n")
    group("pod/job", memory_current=str(2**19), memory_events="oom_kill 3\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/pod/job/supervisor\n")
    assert (hardware.read_cgroup_number("memory.current"), hardware.count_oom_kills()) == (2**19, 3)


def test_free_memory_counts_what_the_group_has_used(group):
    group("pod/job", memory_max=str(2**20), memory_current=str(2**19))
    assert hardware.measure_load()["memory_free_bytes"] == 2**19


def test_the_machine_under_test(tmp_path):
    found = hardware.detect(tmp_path / "not/there/yet")
    assert 0 < found.cpus <= found.facts["cpus_of_board"]
    assert 0 < found.memory_bytes <= psutil.virtual_memory().total
    assert found.disk_bytes > 0
    assert len(found.boot_id) == 36
    assert found.facts["processor"]
    assert bool(found.gpus) != bool(found.facts["gpu_reason"])


class NVMLError(Exception):
    pass


def fail(*_):
    raise NVMLError("Driver/library version mismatch")


def nvml(**changes):
    return SimpleNamespace(
        **{
            "NVMLError": NVMLError,
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlSystemGetDriverVersion": lambda: b"550.54",
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda card: "A100",
            "nvmlDeviceGetUUID": lambda card: "GPU-1",
            "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(total=40, free=30),
            "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=25),
            "nvmlDeviceGetTemperature": lambda card, sensor: 61,
        }
        | changes
    )


def test_lists_the_gpus(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    card = {"index": 0, "name": "A100", "memory_bytes": 40, "driver": "550.54", "uuid": "GPU-1"}
    assert hardware.detect_gpus() == ([card], "")
    use = {"index": 0, "busy": 0.25, "memory_free_bytes": 30, "memory_bytes": 40, "temperature": 61}
    assert hardware.measure_gpus() == [use]


def test_a_card_in_instances_does_not_tell_how_busy_it_is(monkeypatch):
    silent = {"nvmlDeviceGetUtilizationRates": fail, "nvmlDeviceGetTemperature": fail}
    monkeypatch.setitem(sys.modules, "pynvml", nvml(**silent))
    use = hardware.measure_gpus()[0]
    assert (use["busy"], use["temperature"], use["memory_bytes"]) == (None, None, 40)


def test_the_store_has_a_disk_of_its_own(tmp_path):
    load = hardware.measure_load(tmp_path, tmp_path)
    assert 0 < load["store_free_bytes"] <= load["store_total_bytes"] == load["disk_total_bytes"]
    assert hardware.measure_load(tmp_path)["store_total_bytes"] is None


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (None, "not installed"),
        (nvml(nvmlInit=fail), "mismatch"),
        (nvml(nvmlDeviceGetHandleByIndex=fail), "mismatch"),
        (nvml(nvmlDeviceGetCount=lambda: 0), "no GPU"),
    ],
)
def test_says_why_there_is_no_gpu(monkeypatch, module, reason):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    gpus, said = hardware.detect_gpus()
    assert gpus == hardware.measure_gpus() == []
    assert reason in said
