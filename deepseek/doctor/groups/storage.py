"""Disks: room, kind, speed, wear and errors."""

from __future__ import annotations

import json
import re
from typing import Any

from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured, failed, grade, grade_floor, passed, warned
from deepseek.doctor.groups.memory import render_size
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule

BENCH_SECONDS = 40.0


def get_home(host: Host) -> str:
    """The folder of the plane or of its worker: PLANE_HOME, else where the doctor was started."""
    return host.environment.get("PLANE_HOME") or "."


def get_scratch(host: Host) -> str:
    return host.environment.get("TMPDIR") or "/tmp"  # noqa: S108  where programs without a setting write


def measure_file_system(host: Host, path: str) -> dict[str, Any]:
    return host.probe("file_system", path)


def read_kernel_log(host: Host) -> list[str]:
    """Lines of the kernel's log. Raises Unmeasured where this user may not read it."""
    output = host.run_tool("dmesg")
    if output.code:
        raise Unmeasured(f"The kernel's log cannot be read: {output.describe_failure()}; run as root.")
    return output.stdout.splitlines()


def check_free(host: Host, rule: Rule, path: str) -> Finding:
    disk = measure_file_system(host, path)
    why = f"{render_size(disk['free_bytes'])} of {render_size(disk['total_bytes'])} is free at {path}."
    return grade_floor(disk["free_bytes"], why, warn=rule.number("warn_bytes"), fail=rule.number("fail_bytes"))


def check_home_free(host: Host, rule: Rule) -> Finding:
    return check_free(host, rule, get_home(host))


def check_tmp_free(host: Host, rule: Rule) -> Finding:
    return check_free(host, rule, get_scratch(host))


def check_inodes(host: Host, rule: Rule) -> Finding:
    disk = measure_file_system(host, get_home(host))
    if not disk["total_inodes"]:
        raise NotApplicable(f"The file system of {get_home(host)} ({disk['type']}) has no fixed number of inodes.")
    share = 100 * disk["free_inodes"] / disk["total_inodes"]
    why = f"{share:.0f} % of {disk['total_inodes']} inodes are free at {get_home(host)}."
    return grade_floor(share, why, warn=rule.number("warn_percent"), fail=rule.number("fail_percent"))


def check_fs(host: Host, rule: Rule) -> Finding:
    disk = measure_file_system(host, get_home(host))
    why = f"{get_home(host)} lies on {disk['type']} ({disk['device']})"
    if disk["type"] in rule.texts("network_types"):
        return failed(f"{why}, a network file system: locks and the write-ahead log of SQLite are not safe there.")
    if disk["type"] in rule.texts("volatile_types"):
        return warned(f"{why}: what is written there may be lost at the next start.")
    return passed(f"{why}, which is local.")


def check_mount(host: Host, rule: Rule) -> Finding:
    home = measure_file_system(host, get_home(host))
    if "ro" in home["options"]:
        return failed(f"{get_home(host)} is mounted read-only at {home['mount']}.")
    lacking = []
    for path in rule.texts("shared_folders"):
        disk = measure_file_system(host, path)
        lacking += [
            f"{path} without {name}"
            for name in rule.texts("due_options")
            if name not in disk["options"]
            if disk["mount"] == path
        ]
    if lacking:
        return warned(f"Mounted {', '.join(lacking)}.")
    return passed(f"{get_home(host)} can be written, and shared folders are mounted as they should be.")


def check_atomic(host: Host, rule: Rule) -> Finding:
    answer = host.probe("atomic", get_home(host))
    broken = [name for name in ("link", "rename", "lock", "fsync") if not answer[name]]
    if broken:
        return failed(f"At {get_home(host)} the file system does not do: {', '.join(broken)}.")
    return passed(f"Links, renames, locks and fsync work at {get_home(host)}.")


def check_fsync(host: Host, rule: Rule) -> Finding:
    p99 = float(host.probe("fsync", get_home(host), seconds=BENCH_SECONDS)["p99_ms"])
    why = f"99 of 100 synced writes of 4 KiB end within {p99:.1f} ms."
    return grade(p99, why, warn=rule.number("warn_ms"), fail=rule.number("fail_ms"))


def check_read_sequential(host: Host, rule: Rule) -> Finding:
    answer = host.probe("read_sequential", get_home(host), seconds=BENCH_SECONDS)
    rate, reference = float(answer["bytes_per_second"]), rule.number("reference_bytes_per_second")
    why = f"Reads {rate / 1e9:.2f} GB/s in order, {100 * rate / reference:.0f} % of {reference / 1e9:g} GB/s"
    how = "past the page cache" if answer["direct"] else "through the page cache"
    fail = rule.number("fail_bytes_per_second")
    return grade_floor(rate, f"{why}, {how}.", warn=rule.number("warn_bytes_per_second"), fail=fail)


def check_read_random(host: Host, rule: Rule) -> Finding:
    answer = host.probe("read_random", get_home(host), seconds=BENCH_SECONDS)
    rate = float(answer["reads_per_second"])
    why = f"Reads {rate:.0f} random blocks of 4 KiB a second with one reader."
    return grade_floor(rate, why, warn=rule.number("warn_reads"), fail=rule.number("fail_reads"))


def check_smart(host: Host, rule: Rule) -> Finding:
    names = [name for name in host.list_names("/sys/class/nvme") if re.fullmatch(r"nvme\d+", name)]
    if not names:
        raise NotApplicable("There is no NVMe disk.")
    worst, texts = passed(""), []
    for name in names:
        finding = grade_nvme(name, read_smart(host, name), rule)
        texts.append(finding.why)
        if ("ok", "warn", "fail").index(finding.verdict) > ("ok", "warn", "fail").index(worst.verdict):
            worst = finding
    return Finding(worst.verdict, "; ".join(texts) + ".")


def read_smart(host: Host, name: str) -> dict[str, Any]:
    output = host.run_tool("smartctl", "--json", "-a", f"/dev/{name}")
    try:
        document = json.loads(output.stdout)
        log: dict[str, Any] = document["nvme_smart_health_information_log"]
    except (ValueError, KeyError, TypeError):
        raise Unmeasured(f"smartctl tells nothing of {name}: {output.describe_failure()}; run as root.") from None
    return log


def grade_nvme(name: str, log: dict[str, Any], rule: Rule) -> Finding:
    warning, used = int(log.get("critical_warning", 0)), float(log.get("percentage_used", 0))
    errors = int(log.get("media_errors", 0))
    why = f"{name}: warning bits {warning:#x}, {used:.0f} % worn, {errors} media errors"
    if warning or errors or used >= rule.number("fail_percent"):
        return failed(why)
    return warned(why) if used >= rule.number("warn_percent") else passed(why)


def check_raid(host: Host, rule: Rule) -> Finding:
    text = host.read("/proc/mdstat") or ""
    arrays = re.findall(r"^(md\w+) : (\w+)(?: \([^)]*\))? ?(\w+)?(.*(?:\n\s.*)*)", text, re.MULTILINE)
    if not arrays:
        raise NotApplicable("There is no software RAID (md).")
    described = ", ".join(f"{name} {level or 'without level'}" for name, _, level, _ in arrays)
    bad = [n for n, state, _, rest in arrays if state != "active" or re.search(r"\(F\)|\[U*_[U_]*\]", rest)]
    if bad:
        return failed(f"Degraded or stopped: {', '.join(bad)}; arrays: {described}.")
    levels = {level for _, _, level, _ in arrays}
    expected = rule.text("expected_level")
    if expected and levels != {expected}:
        return warned(f"Arrays: {described}; {expected} is expected.")
    return passed(f"Complete: {described}.")


def check_io_errors(host: Host, rule: Rule) -> Finding:
    pattern = re.compile("|".join(rule.texts("patterns")))
    lines = [line for line in read_kernel_log(host) if pattern.search(line[:1000])]
    if lines:
        return failed(f"{len(lines)} errors of disks in the kernel's log, the last: {lines[-1][:160]}")
    return passed("The kernel's log names no error of a disk.")


CHECKS = {
    "disk.home_free": check_home_free,
    "disk.tmp_free": check_tmp_free,
    "disk.inodes": check_inodes,
    "disk.fs": check_fs,
    "disk.mount": check_mount,
    "disk.atomic": check_atomic,
    "disk.fsync": check_fsync,
    "disk.read_seq": check_read_sequential,
    "disk.read_rand": check_read_random,
    "disk.smart": check_smart,
    "disk.raid": check_raid,
    "disk.io_errors": check_io_errors,
}
