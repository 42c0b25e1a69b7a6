"""The operating system: release, kernel, limits, sandboxes and time."""

from __future__ import annotations

import re
from datetime import date

from deepseek.doctor.conflict_rules import find_conflicts, parse_version
from deepseek.doctor.conflicts import read_facts
from deepseek.doctor.findings import Finding, Unmeasured, failed, grade, passed, warned
from deepseek.doctor.groups.cpu import find_cgroup_folder
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule


def read_today(host: Host) -> date:
    """The day by the machine's clock; a captured tree has its own."""
    return date.fromisoformat(host.run_tool("date", "-u", "+%F").stdout.strip())


def read_release(host: Host) -> dict[str, str]:
    lines = host.read_required("/etc/os-release").splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def check_release(host: Host, rule: Rule) -> Finding:
    release, today = read_release(host), read_today(host)
    name = release.get("PRETTY_NAME", release.get("ID", "unknown"))
    table = {(row.split()[0], row.split()[1]): date.fromisoformat(row.split()[2]) for row in rule.texts("end_of_life")}
    version = release.get("VERSION_ID", "")
    end = table.get((release.get("ID", ""), version)) or table.get((release.get("ID", ""), version.partition(".")[0]))
    if end is None:
        return warned(f"{name} is not in our table of releases: its end of life is not known.")
    if today > end:
        return failed(f"{name} has had no security updates since {end}.")
    days = (end - today).days
    why = f"{name} gets security updates until {end}."
    return warned(why) if days < rule.number("warn_days") else passed(why)


def check_kernel(host: Host, rule: Rule) -> Finding:
    kernel, tainted = (
        host.read_required("/proc/sys/kernel/osrelease"),
        host.read_number("/proc/sys/kernel/tainted") or 0,
    )
    flags = dict(row.split(" ", 1) for row in rule.texts("taints"))
    reasons = [text for bit, text in flags.items() if tainted >> int(bit) & 1]
    if parse_version(kernel) < parse_version(rule.text("min_version")):
        return failed(f"The kernel is {kernel}; at least {rule.text('min_version')} is needed.")
    return (
        warned(f"The kernel {kernel} reports: {', '.join(reasons)}.") if reasons else passed(f"The kernel is {kernel}.")
    )


def check_conflicts(host: Host, rule: Rule) -> Finding:
    matches = find_conflicts(read_facts(host), host.conflict_rules)
    if not matches:
        return passed(f"None of {len(host.conflict_rules)} known conflicts applies.")
    texts = "; ".join(f"{match['id']}: {match['cause']} Remedy: {match['remedy']}" for match in matches)
    return failed(texts) if any(match["severity"] == "fail" for match in matches) else warned(texts)


def read_limit(host: Host, name: str) -> float:
    for line in host.read_required("/proc/self/limits").splitlines():
        if line.startswith(name) and (values := line.removeprefix(name).split()):
            return float("inf") if values[0] == "unlimited" else float(values[0])
    raise Unmeasured(f"/proc/self/limits has no line {name!r}.")


def check_limit(host: Host, rule: Rule, name: str, what: str) -> Finding:
    limit = read_limit(host, name)
    why = f"A user may have {limit:g} {what}."
    if limit < rule.number("fail_below"):
        return failed(why)
    return warned(why) if limit < rule.number("warn_below") else passed(why)


def check_open_files(host: Host, rule: Rule) -> Finding:
    return check_limit(host, rule, "Max open files", "open files")


def check_processes(host: Host, rule: Rule) -> Finding:
    return check_limit(host, rule, "Max processes", "processes")


def check_cgroup(host: Host, rule: Rule) -> Finding:
    folder = find_cgroup_folder(host)
    controllers = (host.read(f"{folder}/cgroup.controllers") or "").split()
    if not controllers:
        return warned(
            "There is no cgroup v2 with controllers here: limits of jobs are kept by a watch, not by the kernel."
        )
    lacking = [name for name in rule.texts("controllers") if name not in controllers]
    if lacking:
        return warned(f"Not delegated to this cgroup: {', '.join(lacking)}.")
    return passed(f"cgroup v2 delegates {', '.join(controllers)}.")


def check_user_namespaces(host: Host, rule: Rule) -> Finding:
    most = host.read_number("/proc/sys/user/max_user_namespaces")
    if most is None:
        return failed("This kernel has no user namespaces: scripts of users cannot be locked in.")
    if not most:
        return failed("user.max_user_namespaces is 0: scripts of users cannot be locked in.")
    locks = {
        "kernel.unprivileged_userns_clone": ("0", host.read("/proc/sys/kernel/unprivileged_userns_clone")),
        "kernel.apparmor_restrict_unprivileged_userns": (
            "1",
            host.read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        ),
    }
    closed = [name for name, (value, text) in locks.items() if text == value]
    is_root = host.read_fields("/proc/self/status").get("Uid", "").split()[:1] == ["0"]
    if closed and not is_root:
        return failed(f"A user may make no namespace: {', '.join(closed)}.")
    return passed(f"Up to {most} user namespaces may be made.")


def check_seccomp(host: Host, rule: Rule) -> Finding:
    actions = (host.read("/proc/sys/kernel/seccomp/actions_avail") or "").split()
    lacking = [name for name in rule.texts("actions") if name not in actions]
    if lacking:
        return failed(f"The kernel's seccomp lacks {', '.join(lacking)}.")
    return passed(f"seccomp offers {', '.join(actions)}.")


def check_reboot(host: Host, rule: Rule) -> Finding:
    if host.has("/run/reboot-required"):
        packages = (host.read("/run/reboot-required.pkgs") or "").split()
        return warned(f"A reboot is pending for {', '.join(packages[:5]) or 'an update'}.")
    running = host.read_required("/proc/sys/kernel/osrelease")
    kernels = [name.removeprefix("vmlinuz-") for name in host.list_names("/boot") if name.startswith("vmlinuz-")]
    newer = [name for name in kernels if order_kernel(name) > order_kernel(running)]
    if newer and running in kernels:
        return warned(f"The kernel {running} runs, and {max(newer, key=order_kernel)} is installed.")
    return passed("No reboot is pending.")


def order_kernel(name: str) -> tuple[int, ...]:
    """All numbers of a kernel's name, for an order."""
    return tuple(int(part) for part in re.findall(r"\d+", name)[:6])


def check_sync(host: Host, rule: Rule) -> Finding:
    outside = re.compile("|".join(rule.texts("outside_sources")))
    for path in rule.texts("files"):
        lines = [line for line in (host.read(path) or "").splitlines() if not line.lstrip().startswith("#")]
        if sources := [line.strip() for line in lines if outside.search(line[:300])]:
            return failed(f"{path} names a source outside: {sources[0][:80]}.")
    answer = host.probe("clock")
    if not answer["synchronized"]:
        return warned("The kernel says that nothing keeps its clock.")
    error = float(answer["max_error_ms"])
    return grade(
        error, f"The clock is kept, within {error:.1f} ms.", warn=rule.number("warn_ms"), fail=rule.number("fail_ms")
    )


def check_offset(host: Host, rule: Rule) -> Finding:
    answer = host.ask_plane("/healthz")
    if answer["offset_seconds"] is None:
        raise Unmeasured(f"The plane does not tell its time: {answer['error'] or answer['status']}.")
    offset = abs(float(answer["offset_seconds"]))
    why = f"This clock differs from the plane's by {offset:.1f} s."
    return grade(offset, why, warn=rule.number("warn_seconds"), fail=rule.number("fail_seconds"))


CHECKS = {
    "os.release": check_release,
    "os.kernel": check_kernel,
    "os.conflicts": check_conflicts,
    "os.nofile": check_open_files,
    "os.nproc": check_processes,
    "os.cgroup": check_cgroup,
    "os.userns": check_user_namespaces,
    "os.seccomp": check_seccomp,
    "os.reboot": check_reboot,
    "time.sync": check_sync,
    "time.offset": check_offset,
}
