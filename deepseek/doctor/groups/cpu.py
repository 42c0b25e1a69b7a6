"""Processors: how many, which, how fast, and what slows them."""

from __future__ import annotations

import re

from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured, failed, grade, grade_floor, passed, warned
from deepseek.doctor.host import HEAVY_SECONDS, Host
from deepseek.doctor.rules import Rule

CPUS = "/sys/devices/system/cpu"


def list_cpu_folders(host: Host) -> list[str]:
    return [f"{CPUS}/{name}" for name in host.list_names(CPUS) if re.fullmatch(r"cpu\d+", name)]


def read_cpu_flags(host: Host) -> set[str]:
    lines = host.read_required("/proc/cpuinfo").splitlines()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(line.partition(":")[2].split())


def is_virtual(host: Host) -> bool:
    return "hypervisor" in read_cpu_flags(host)


def find_cgroup_folder(host: Host) -> str:
    """The folder of this process's cgroup v2; the root's where it has none."""
    lines = (host.read("/proc/self/cgroup") or "").splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return f"/sys/fs/cgroup{path}".rstrip("/")


def count_usable_cpus(host: Host) -> float:
    """CPUs of the affinity mask, cut to the quota of the cgroup."""
    text = host.read_fields("/proc/self/status").get("Cpus_allowed_list", "")
    count = 0
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            raise Unmeasured(f"Cpus_allowed_list in /proc/self/status is {text[:40]!r}.")
        count += int(last or first) - int(first) + 1
    if not count:
        raise Unmeasured("/proc/self/status names no CPU that this process may use.")
    quota, _, period = (host.read(f"{find_cgroup_folder(host)}/cpu.max") or "max 100000").partition(" ")
    return min(float(count), int(quota) / int(period)) if quota.isdigit() and period.isdigit() else float(count)


def check_count(host: Host, rule: Rule) -> Finding:
    count = count_usable_cpus(host)
    registered = host.registered.get("cpus")
    why = f"{count:g} CPUs may be used by affinity and cgroup quota"
    if count < rule.number("min_cpus"):
        return failed(f"{why}; at least {rule.number('min_cpus'):g} are needed.")
    if registered and count < float(registered):
        return warned(f"{why}; the node is registered with {registered:g}.")
    return passed(f"{why}.")


def check_architecture(host: Host, rule: Rule) -> Finding:
    machine = host.run_tool("uname", "-m").stdout.strip()
    tags = host.probe("wheel_tags")["tags"]
    platforms = {tag.rpartition("-")[2] for tag in tags} - {"any"}
    if machine not in rule.texts("supported"):
        return failed(f"The processor is {machine}; wheels exist for {', '.join(rule.texts('supported'))}.")
    foreign = sorted(name for name in platforms if not name.endswith(machine))
    if foreign:
        return failed(f"The processor is {machine}, and installed wheels are built for {', '.join(foreign)}.")
    return passed(f"The processor is {machine}, as the installed wheels are.")


def check_flags(host: Host, rule: Rule) -> Finding:
    flags, machine = read_cpu_flags(host), host.run_tool("uname", "-m").stdout.strip()
    suffix = "_arm" if machine == "aarch64" else ""
    lacking = [name for name in rule.texts(f"required_flags{suffix}") if name not in flags]
    slow = [name for name in rule.texts(f"useful_flags{suffix}") if name not in flags]
    extra = ", with AMX" if "amx_int8" in flags else ""
    if lacking:
        return failed(f"The processor lacks {', '.join(lacking)}: kernels of torch and TVM do not run.")
    if slow:
        return warned(f"The processor lacks {', '.join(slow)}: int8 models run slowly.")
    return passed(f"The processor has every instruction set that our kernels use{extra}.")


def check_governor(host: Host, rule: Rule) -> Finding:
    if is_virtual(host):
        raise NotApplicable("This is a virtual machine: its host sets the frequency.")
    texts = [host.read(f"{folder}/cpufreq/scaling_governor") for folder in list_cpu_folders(host)]
    governors = {text for text in texts if text}
    if not governors:
        raise NotApplicable("The kernel offers no frequency scaling here.")
    slow = sorted(governors - set(rule.texts("allowed")))
    if slow:
        return warned(f"The frequency governor is {', '.join(slow)}, not {' or '.join(rule.texts('allowed'))}.")
    return passed(f"The frequency governor is {', '.join(sorted(governors))} on every CPU.")


def check_throttle(host: Host, rule: Rule) -> Finding:
    if is_virtual(host):
        raise NotApplicable("This is a virtual machine: its host sees the temperature.")
    names = ("core_throttle_count", "package_throttle_count")
    counts = [host.read_number(f"{cpu}/thermal_throttle/{name}") for cpu in list_cpu_folders(host) for name in names]
    figures = [count for count in counts if count is not None]
    if not figures:
        raise NotApplicable("The kernel counts no thermal throttling here.")
    hours = max(float(host.read_required("/proc/uptime").split()[0]) / 3600, 1 / 60)
    rate = max(figures) / hours
    why = f"A CPU was throttled for heat {max(figures)} times in {hours:.1f} h since boot, {rate:.2f} an hour."
    return grade(rate, why, warn=rule.number("warn_per_hour"), fail=rule.number("fail_per_hour"))


def check_steal(host: Host, rule: Rule) -> Finding:
    steal = float(host.probe("cpu_steal", "1")["steal_percent"])
    why = f"The host of this machine took {steal:.1f} % of its CPU time over 1 s."
    return grade(steal, why, warn=rule.number("warn_percent"), fail=rule.number("fail_percent"))


def check_microcode(host: Host, rule: Rule) -> Finding:
    folder = f"{CPUS}/vulnerabilities"
    states = {name: host.read(f"{folder}/{name}") or "" for name in host.list_names(folder)}
    lines = host.read_required("/proc/cpuinfo").splitlines()
    revisions = sorted({line.partition(":")[2].strip() for line in lines if line.startswith("microcode")})
    if len(revisions) > 1:
        return failed(f"The CPUs run different microcode: {', '.join(revisions)}.")
    ignored = set(rule.texts("ignored"))
    open_holes = sorted(n for n, text in states.items() if text.startswith("Vulnerable") and n not in ignored)
    if open_holes:
        return warned(f"Not mitigated: {', '.join(open_holes)}; microcode {', '.join(revisions) or 'not told'}.")
    if not states:
        raise NotApplicable("The kernel lists no vulnerabilities of this processor.")
    return passed(f"{len(states)} known vulnerabilities are mitigated; microcode {', '.join(revisions) or 'not told'}.")


def check_threads(host: Host, rule: Rule) -> Finding:
    usable, values = count_usable_cpus(host), {}
    for name in rule.texts("variables"):
        if text := host.environment.get(name):
            first = text.split(",")[0]
            if not first.isdigit() or not int(first):
                return failed(f"{name} is {text[:40]!r}, which is no number of threads.")
            values[name] = int(first)
    many = {name: count for name, count in values.items() if count > usable}
    if many:
        described = ", ".join(f"{name}={count}" for name, count in many.items())
        return warned(f"{described}, and {usable:g} CPUs may be used: threads wait for one another.")
    described = ", ".join(f"{name}={count}" for name, count in values.items()) or "No thread limit is set"
    return passed(f"{described}; {usable:g} CPUs may be used.")


def check_blas(host: Host, rule: Rule) -> Finding:
    answer = host.probe("matmul", "512", seconds=HEAVY_SECONDS)
    share = float(answer["gflops"]) / max(1.0, float(answer["threads"]))
    why = f"A 512 x 512 product of float32 reaches {answer['gflops']:.0f} GFLOP/s with {answer['threads']} threads"
    if float(answer["error"]) > rule.number("max_error"):
        return failed(f"A matrix product is wrong by {answer['error']:.2g}; at most {rule.number('max_error'):g}.")
    return grade_floor(share, f"{why}.", warn=rule.number("warn_gflops"), fail=rule.number("fail_gflops"))


CHECKS = {
    "cpu.count": check_count,
    "cpu.arch": check_architecture,
    "cpu.flags": check_flags,
    "cpu.governor": check_governor,
    "cpu.throttle": check_throttle,
    "cpu.steal": check_steal,
    "cpu.microcode": check_microcode,
    "cpu.threads": check_threads,
    "cpu.blas": check_blas,
}
