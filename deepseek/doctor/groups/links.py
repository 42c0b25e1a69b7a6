"""Links of GPUs: PCI Express to the processor, NVLink and peer access between cards."""

from __future__ import annotations

import re

from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured, failed, grade, grade_floor, passed, warned
from deepseek.doctor.host import Host
from deepseek.doctor.nvidia import read_gpus, require_gpu, require_several
from deepseek.doctor.rules import Rule

LINK = "pci/pci_gpu_link_info"
GPU_SECONDS = 90.0


def check_pcie_width(host: Host, rule: Rule) -> Finding:
    narrow, slow, texts = [], [], []
    for gpu in read_gpus(host):
        width = gpu.number(f"{LINK}/link_widths/current_link_width")
        most = gpu.number(f"{LINK}/link_widths/max_link_width")
        generation = gpu.number(f"{LINK}/pcie_gen/max_link_gen")
        of_card = gpu.number(f"{LINK}/pcie_gen/max_device_link_gen") or generation
        if width is None or most is None or generation is None or of_card is None:
            raise Unmeasured(f"The driver does not tell the PCIe link of {gpu.name}.")
        texts.append(f"{gpu.name} x{width:.0f} generation {generation:.0f}")
        if width < most:
            narrow.append(f"{gpu.name} x{width:.0f} of x{most:.0f}")
        if generation < of_card:
            slow.append(f"{gpu.name} generation {generation:.0f} of {of_card:.0f}")
    if narrow:
        return failed(f"Narrow: {', '.join(narrow)}.")
    return warned(f"The board is slower than the card: {', '.join(slow)}.") if slow else passed(f"{', '.join(texts)}.")


def check_pcie_replay(host: Host, rule: Rule) -> Finding:
    counts = {gpu.name: gpu.number("pci/replay_counter") or 0 for gpu in read_gpus(host)}
    why = ", ".join(f"{name} {count:.0f}" for name, count in counts.items())
    worst = max(counts.values())
    return grade(worst, f"Replayed packets: {why}.", warn=rule.number("warn_replays"), fail=rule.number("fail_replays"))


def check_pcie_bandwidth(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    rows = host.probe("pcie_bandwidth", seconds=GPU_SECONDS)["gpus"]
    least = min(min(row["to_gpu"], row["from_gpu"]) for row in rows)
    why = ", ".join(
        f"GPU {row['index']} {row['to_gpu'] / 1e9:.1f} GB/s to and {row['from_gpu'] / 1e9:.1f} GB/s from it"
        for row in rows
    )
    fail = rule.number("fail_bytes_per_second")
    return grade_floor(least, f"{why}.", warn=rule.number("warn_bytes_per_second"), fail=fail)


def read_nvlink(host: Host, flag: str) -> list[str]:
    """Lines of `nvidia-smi nvlink` that name a link. Raises NotApplicable where the cards have none."""
    require_several(host)
    output = host.run_tool("nvidia-smi", "nvlink", flag)
    lines = [line.strip() for line in output.stdout.splitlines() if re.match(r"\s+Link \d+", line)]
    if not lines:
        raise NotApplicable("The GPUs have no NVLink.")
    return lines


def check_nvlink_active(host: Host, rule: Rule) -> Finding:
    lines = read_nvlink(host, "-s")
    inactive = [line for line in lines if "inactive" in line.lower()]
    if inactive:
        return failed(f"{len(inactive)} of {len(lines)} NVLinks are inactive.")
    return passed(f"{len(lines)} NVLinks are active.")


def check_nvlink_errors(host: Host, rule: Rule) -> Finding:
    counts = [int(match[1]) for line in read_nvlink(host, "-e") if (match := re.search(r":\s*(\d+)\s*$", line))]
    if not counts:
        raise Unmeasured("nvidia-smi nvlink -e names no counter.")
    why = f"{sum(counts)} errors on NVLinks."
    return grade(max(counts), why, warn=rule.number("warn_errors"), fail=rule.number("fail_errors"))


def check_peer_access(host: Host, rule: Rule) -> Finding:
    require_several(host)
    output = host.run_tool("nvidia-smi", "topo", "-p2p", "r")
    cells = [cell for line in output.stdout.splitlines() if re.match(r"\s*GPU\d+\s", line) for cell in line.split()[1:]]
    states = [cell for cell in cells if cell != "X" and not cell.startswith("GPU")]
    if not states:
        raise Unmeasured("nvidia-smi topo -p2p r gave no matrix.")
    bad = sorted({cell for cell in states if cell != "OK"})
    if bad:
        return warned(f"Not every pair of GPUs reads the other's memory: {', '.join(bad)}.")
    return passed(f"{len(states)} of {len(states)} pairs read each other's memory.")


def check_nccl(host: Host, rule: Rule) -> Finding:
    count = len(require_several(host))
    answer = host.probe("nccl", str(count), seconds=GPU_SECONDS)
    why = f"All-reduce over {count} GPUs moves {answer['bytes_per_second'] / 1e9:.1f} GB/s."
    if not answer["right"]:
        return failed("All-reduce over the GPUs gives a wrong sum.")
    rate, fail = float(answer["bytes_per_second"]), rule.number("fail_bytes_per_second")
    return grade_floor(rate, why, warn=rule.number("warn_bytes_per_second"), fail=fail)


CHECKS = {
    "link.pcie_width": check_pcie_width,
    "link.pcie_replay": check_pcie_replay,
    "link.pcie_bw": check_pcie_bandwidth,
    "link.nvlink_active": check_nvlink_active,
    "link.nvlink_errors": check_nvlink_errors,
    "link.p2p": check_peer_access,
    "link.nccl": check_nccl,
}
