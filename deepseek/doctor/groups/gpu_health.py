"""Health of GPUs: errors that the driver has counted, heat, power, and two tests that compute."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deepseek.doctor.findings import Finding, NotApplicable, failed, grade, passed, warned
from deepseek.doctor.groups.storage import read_kernel_log
from deepseek.doctor.host import Host
from deepseek.doctor.nvidia import Gpu, read_gpus, require_gpu
from deepseek.doctor.rules import Rule

XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)")
MEMTEST_SECONDS = 240.0


def sum_counts(gpu: Gpu, path: str, word: str) -> int | None:
    """The sum of the counters below `path` whose name holds `word`; None where the driver tells none."""
    folder = gpu.element.find(path)
    if folder is None:
        return None
    values = [gpu.number(f"{path}/{each.tag}") for each in folder if word in each.tag]
    counts = [int(value) for value in values if value is not None]
    return sum(counts) if counts else None


def count_ecc(host: Host, since: str) -> tuple[int, int]:
    """(uncorrectable, correctable) errors over all GPUs. Raises NotApplicable without ECC."""
    gpus = read_gpus(host)
    lost = [sum_counts(gpu, f"ecc_errors/{since}", "uncorrectable") for gpu in gpus]
    if all(count is None for count in lost):
        raise NotApplicable("These GPUs have no ECC, or it is switched off.")
    corrected = [
        (sum_counts(gpu, f"ecc_errors/{since}", "correctable") or 0) - (count or 0)
        for gpu, count in zip(gpus, lost, strict=True)
    ]
    return sum(count or 0 for count in lost), sum(corrected)


def check_ecc(host: Host, rule: Rule, since: str, words: str) -> Finding:
    lost, corrected = count_ecc(host, since)
    why = f"{lost} uncorrectable and {corrected} corrected errors of GPU memory {words}."
    if lost >= rule.number("fail_uncorrectable"):
        return failed(why)
    return warned(why) if corrected >= rule.number("warn_corrected") or lost else passed(why)


def check_volatile_ecc(host: Host, rule: Rule) -> Finding:
    return check_ecc(host, rule, "volatile", "since the driver was loaded")


def check_aggregate_ecc(host: Host, rule: Rule) -> Finding:
    return check_ecc(host, rule, "aggregate", "in the life of the cards")


def check_row_remap(host: Host, rule: Rule) -> Finding:
    gpus = read_gpus(host)
    if not any(gpu.text("remapped_rows/remapped_row_pending") for gpu in gpus):
        raise NotApplicable("These GPUs do not remap rows.")
    broken = [gpu.name for gpu in gpus if gpu.text("remapped_rows/remapped_row_failure") == "Yes"]
    pending = [gpu.name for gpu in gpus if gpu.text("remapped_rows/remapped_row_pending") == "Yes"]
    if broken or pending:
        return failed(
            f"Remapping of rows failed: {', '.join(broken) or 'none'}; pending: {', '.join(pending) or 'none'}."
        )
    count = sum(gpu.number("remapped_rows/remapped_row_unc") or 0 for gpu in gpus)
    why = f"{count:.0f} rows were remapped for uncorrectable errors, none is pending."
    return warned(why) if count >= rule.number("warn_rows") else passed(why)


def check_retired_pages(host: Host, rule: Rule) -> Finding:
    gpus = read_gpus(host)
    paths = ("multiple_single_bit_retirement/retired_count", "double_bit_retirement/retired_count")
    counts = [gpu.number(f"retired_pages/{path}") for gpu in gpus for path in paths]
    if all(count is None for count in counts):
        raise NotApplicable("These GPUs remap rows and retire no pages.")
    pending = [gpu.name for gpu in gpus if gpu.text("retired_pages/pending_retirement") == "Yes"]
    total = sum(count or 0 for count in counts)
    why = f"{total:.0f} pages are retired; pending on {', '.join(pending) or 'no GPU'}."
    return failed(why) if pending else grade(total, why, warn=rule.number("warn_pages"), fail=rule.number("fail_pages"))


def parse_codes(lines: Sequence[str]) -> dict[int, str]:
    """`79 fell off the bus` -> {79: "fell off the bus"}"""
    return {int(number): text for number, _, text in (line.partition(" ") for line in lines)}


def check_xid(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    errors = [(int(match[2]), match[1]) for line in read_kernel_log(host) if (match := XID.search(line[:1000]))]
    serious, minor = parse_codes(rule.texts("fail_codes")), parse_codes(rule.texts("warn_codes"))
    codes = dict(errors)
    description = ", ".join(
        f"Xid {code} at {address} ({serious.get(code) or minor.get(code) or 'not in the table'})"
        for code, address in sorted(codes.items())
    )
    if any(code in serious for code in codes):
        return failed(f"{len(errors)} errors since boot: {description}.")
    if codes:
        return warned(f"{len(errors)} errors since boot: {description}.")
    return passed("The driver has logged no error (Xid) since boot.")


def check_temperature(host: Host, rule: Rule) -> Finding:
    gpus = read_gpus(host)
    hottest, margin = max(
        (gpu.number("temperature/gpu_temp") or 0, gpu.number("temperature/gpu_temp_slow_threshold") or 0)
        for gpu in gpus
    )
    limit = (
        min(rule.number("fail_celsius"), margin - rule.number("margin_celsius"))
        if margin
        else rule.number("fail_celsius")
    )
    why = f"The hottest GPU has {hottest:.0f} °C; it slows down at {margin:.0f} °C." if margin else f"{hottest:.0f} °C."
    return grade(hottest, why, warn=min(rule.number("warn_celsius"), limit), fail=limit)


def check_power_limit(host: Host, rule: Rule) -> Finding:
    low = []
    for gpu in read_gpus(host):
        for folder in ("gpu_power_readings", "power_readings"):
            current = gpu.number(f"{folder}/current_power_limit") or gpu.number(f"{folder}/enforced_power_limit")
            default = gpu.number(f"{folder}/default_power_limit")
            if current and default and current < default * rule.number("warn_percent") / 100:
                low.append(f"{gpu.name} {current:.0f} of {default:.0f} W")
    return warned(f"Limited: {', '.join(low)}.") if low else passed("Every GPU may draw the power that it is made for.")


def check_throttle(host: Host, rule: Rule) -> Finding:
    slow: dict[str, list[str]] = {"hard": [], "soft": []}
    for gpu in read_gpus(host):
        for folder, prefix in (
            ("clocks_event_reasons", "clocks_event_reason_"),
            ("clocks_throttle_reasons", "clocks_throttle_reason_"),
        ):
            for kind in ("hard", "soft"):
                slow[kind] += [
                    f"{gpu.name} {name}"
                    for name in rule.texts(f"{kind}_reasons")
                    if gpu.text(f"{folder}/{prefix}{name}") == "Active"
                ]
    if slow["hard"]:
        return failed(f"Slowed down by the board: {', '.join(slow['hard'])}.")
    return warned(f"Slowed down: {', '.join(slow['soft'])}.") if slow["soft"] else passed("No GPU is slowed down.")


def check_vbios(host: Host, rule: Rule) -> Finding:
    versions: dict[str, set[str]] = {}
    for gpu in read_gpus(host):
        versions.setdefault(gpu.text("product_name"), set()).add(gpu.text("vbios_version"))
    mixed = [f"{name}: {', '.join(sorted(few))}" for name, few in versions.items() if len(few) > 1]
    if mixed:
        return warned(f"Cards of one model run different firmware: {'; '.join(mixed)}.")
    return passed(f"Firmware {'; '.join(', '.join(few) for few in versions.values())}.")


def check_foreign(host: Host, rule: Rule) -> Finding:
    foreign = []
    for gpu in read_gpus(host):
        for process in gpu.element.findall("processes/process_info"):
            name = (process.findtext("process_name") or "").rpartition("/")[2]
            if not name.startswith(tuple(rule.texts("own_names"))):
                foreign.append(f"{name or 'hidden'} ({process.findtext('pid')}) on {gpu.name}")
    return warned(f"Other processes: {', '.join(foreign)}.") if foreign else passed("No other process uses the GPUs.")


def check_compute(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    errors = host.probe("gpu_compute", seconds=60)["errors"]
    wrong = [f"GPU {index} by {error:.2g}" for index, error in enumerate(errors) if error > rule.number("max_error")]
    if wrong:
        return failed(f"A matrix product differs from that of the CPU: {', '.join(wrong)}.")
    return passed(f"{len(errors)} GPUs compute what the CPU does.")


def check_memory_patterns(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    rows = host.probe("gpu_memtest", f"{rule.number('share_percent'):g}", seconds=MEMTEST_SECONDS)["gpus"]
    wrong = [f"GPU {row['index']}: {row['wrong']} words" for row in rows if row["wrong"]]
    if wrong:
        return failed(f"Patterns came back changed: {', '.join(wrong)}.")
    return passed(f"{sum(row['bytes'] for row in rows) / 1e9:.0f} GB kept every pattern.")


CHECKS = {
    "gpu.ecc_volatile": check_volatile_ecc,
    "gpu.ecc_aggregate": check_aggregate_ecc,
    "gpu.row_remap": check_row_remap,
    "gpu.retired_pages": check_retired_pages,
    "gpu.xid": check_xid,
    "gpu.temperature": check_temperature,
    "gpu.power_limit": check_power_limit,
    "gpu.throttle": check_throttle,
    "gpu.vbios": check_vbios,
    "gpu.foreign": check_foreign,
    "gpu.compute": check_compute,
    "gpu.memtest": check_memory_patterns,
}
