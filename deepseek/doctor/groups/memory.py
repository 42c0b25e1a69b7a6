"""Memory: how much, how much is left, and what the kernel has counted against it."""

from __future__ import annotations

import re

from deepseek.doctor.findings import (
    Finding,
    NotApplicable,
    Unmeasured,
    failed,
    grade,
    grade_floor,
    passed,
    warned,
)
from deepseek.doctor.groups.cpu import find_cgroup_folder
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule

EDAC = "/sys/devices/system/edac/mc"
NODES = "/sys/devices/system/node"
SHM = "/dev/shm"  # noqa: S108  what is measured, not written


def render_size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def read_meminfo(host: Host, name: str, path: str = "/proc/meminfo") -> int:
    """Bytes of a line of meminfo. Raises Unmeasured where it is missing."""
    for line in host.read_required(path).splitlines():
        heading, _colon, value = line.partition(":")  # of a NUMA node: "Node 0 MemTotal"
        if heading.split()[-1:] == [name] and value.strip().removesuffix(" kB").isdigit():
            return int(value.strip().removesuffix(" kB")) * 1024
    raise Unmeasured(f"{path} has no line {name}.")


def check_total(host: Host, rule: Rule) -> Finding:
    total, registered = read_meminfo(host, "MemTotal"), host.registered.get("memory_bytes")
    why = f"The machine has {render_size(total)} of memory"
    if total < rule.number("min_bytes"):
        return failed(f"{why}; at least {render_size(rule.number('min_bytes'))} is needed.")
    if registered and total < float(registered):
        return failed(f"{why}, less than the {render_size(registered)} that it is registered with.")
    return passed(f"{why}.")


def check_available(host: Host, rule: Rule) -> Finding:
    total, available = read_meminfo(host, "MemTotal"), read_meminfo(host, "MemAvailable")
    share = 100 * available / total
    why = f"{render_size(available)} of {render_size(total)} is available, {share:.0f} %."
    return grade_floor(share, why, warn=rule.number("warn_percent"), fail=rule.number("fail_percent"))


def check_cgroup(host: Host, rule: Rule) -> Finding:
    folder, total = find_cgroup_folder(host), read_meminfo(host, "MemTotal")
    text = host.read(f"{folder}/memory.max")
    if text is None:
        raise NotApplicable("This process is in no cgroup v2 that limits memory.")
    if text == "max":
        return passed("No cgroup limits the memory of this process.")
    limit, used = int(text), host.read_number(f"{folder}/memory.current") or 0
    why = (
        f"Its cgroup limits this process to {render_size(limit)} of {render_size(total)}; {render_size(used)} is used."
    )
    if limit < rule.number("min_bytes"):
        return failed(why)
    return warned(why) if used > limit * rule.number("warn_percent") / 100 else passed(why)


def check_swap(host: Host, rule: Rule) -> Finding:
    total, free = read_meminfo(host, "SwapTotal"), read_meminfo(host, "SwapFree")
    swappiness = host.read_number("/proc/sys/vm/swappiness")
    if not total:
        return passed("There is no swap: what does not fit is refused or killed, not slowed.")
    used = 100 * (total - free) / total
    why = f"{used:.0f} % of {render_size(total)} of swap is used; vm.swappiness is {swappiness}."
    if swappiness is not None and swappiness > rule.number("max_swappiness") and used < rule.number("fail_percent"):
        return warned(why)
    return grade(used, why, warn=rule.number("warn_percent"), fail=rule.number("fail_percent"))


def check_ecc(host: Host, rule: Rule) -> Finding:
    controllers = [name for name in host.list_names(EDAC) if re.fullmatch(r"mc\d+", name)]
    if not controllers:
        raise NotApplicable("The kernel watches no memory controller (no EDAC).")
    corrected = sum(host.read_number(f"{EDAC}/{name}/ce_count") or 0 for name in controllers)
    uncorrected = sum(host.read_number(f"{EDAC}/{name}/ue_count") or 0 for name in controllers)
    why = f"{uncorrected} uncorrected and {corrected} corrected errors since boot on {len(controllers)} controllers."
    if uncorrected:
        return failed(why)
    return warned(why) if corrected >= rule.number("warn_corrected") else passed(why)


def check_oom(host: Host, rule: Rule) -> Finding:
    text = host.read_fields("/proc/vmstat").get("oom_kill")
    if text is None:
        raise Unmeasured("/proc/vmstat has no counter oom_kill.")
    why = f"The kernel has killed {text} processes for lack of memory since boot."
    return grade(int(text), why, warn=rule.number("warn_kills"), fail=rule.number("fail_kills"))


def check_thp(host: Host, rule: Rule) -> Finding:
    text = host.read("/sys/kernel/mm/transparent_hugepage/enabled")
    match = re.search(r"\[(\w+)\]", text or "")
    if match is None:
        raise NotApplicable("This kernel has no transparent huge pages.")
    why = f"Transparent huge pages are set to {match[1]}"
    allowed = rule.texts("allowed")
    return passed(f"{why}.") if match[1] in allowed else warned(f"{why}, not {' or '.join(allowed)}.")


def check_numa(host: Host, rule: Rule) -> Finding:
    nodes = [name for name in host.list_names(NODES) if re.fullmatch(r"node\d+", name)]
    if len(nodes) < 2:
        raise NotApplicable("The machine has one memory node.")
    sizes = {name: read_meminfo(host, "MemTotal", f"{NODES}/{name}/meminfo") for name in nodes}
    why = ", ".join(f"{name} {render_size(size)}" for name, size in sizes.items())
    least, most = min(sizes.values()), max(sizes.values())
    if not least:
        return failed(f"A memory node is empty: {why}.")
    return (
        warned(f"Memory is spread unevenly: {why}.") if most > least * rule.number("max_ratio") else passed(f"{why}.")
    )


def check_shm(host: Host, rule: Rule) -> Finding:
    size = host.probe("file_system", SHM)
    why = f"{SHM} holds {render_size(size['total_bytes'])}, {render_size(size['free_bytes'])} free."
    if size["type"] != "tmpfs":
        return failed(f"{SHM} is no tmpfs but {size['type']}: loaders of several processes fail.")
    return grade_floor(size["free_bytes"], why, warn=rule.number("warn_bytes"), fail=rule.number("fail_bytes"))


CHECKS = {
    "mem.total": check_total,
    "mem.available": check_available,
    "mem.cgroup": check_cgroup,
    "mem.swap": check_swap,
    "mem.ecc": check_ecc,
    "mem.oom": check_oom,
    "mem.thp": check_thp,
    "mem.numa": check_numa,
    "mem.shm": check_shm,
}
