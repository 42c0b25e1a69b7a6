"""What conflict rules ask of this machine, and the site's file of rules on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deepseek.doctor.conflict_rules import read_signed_rules
from deepseek.doctor.findings import NotApplicable, Unmeasured
from deepseek.doctor.host import Host
from deepseek.doctor.nvidia import MODULE_VERSION, probe_torch, read_gpu_document, read_gpus
from deepseek.job import EngineError

SITE_FILE = "/etc/deepseek/conflicts.json"


def load_site_rules(path: Path, keys: Path | None) -> list[dict[str, Any]]:
    """The rules of a signed file. Raises EngineError for a wrong signature, for rules at fault, and without a key."""
    try:
        content = path.read_bytes()
        trusted = keys.read_text(encoding="ascii") if keys else ""
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(
            "bad_conflicts",
            "The conflict rules in {name} are not used: {what}.",
            name=str(path),
            what=str(error)[:200],
            field="--conflicts",
            value=str(path),
            limit="files that can be read",
            hint="docs/doctor.md shows the format.",
        ) from None
    rules: list[dict[str, Any]] = read_signed_rules(content, trusted, str(path))["rules"]
    return rules


# -- facts ----------------------------------------------------------------------------------------------------------
def read_facts(host: Host) -> dict[str, Any]:
    """What rules may ask of this machine; what cannot be read is left out."""
    dmi = "/sys/class/dmi/id"
    kernel = host.read("/proc/sys/kernel/osrelease") or ""
    facts: dict[str, Any] = {
        "kernel": kernel,
        "kernel_flavour": [kernel],
        "kernel_arguments": [host.read("/proc/cmdline") or ""],
        "driver": host.read(MODULE_VERSION) or "",
        "board": [host.read(f"{dmi}/board_name") or "", host.read(f"{dmi}/product_name") or ""],
        "board_vendor": [host.read(f"{dmi}/board_vendor") or "", host.read(f"{dmi}/sys_vendor") or ""],
        "firmware": [host.read(f"{dmi}/bios_version") or ""],
        "firmware_date": _order_date(host.read(f"{dmi}/bios_date") or ""),
        "processor": [_find_line(host.read("/proc/cpuinfo") or "", "model name")],
        "os": [_find_line(host.read("/etc/os-release") or "", "PRETTY_NAME", "=").strip('"')],
    }
    try:
        gpus = read_gpus(host)
        facts["gpu"] = [gpu.text("product_name") for gpu in gpus]
        facts["vbios"] = [gpu.text("vbios_version") for gpu in gpus]
        facts["cuda"] = read_gpu_document(host).findtext("cuda_version") or ""
    except (NotApplicable, Unmeasured):
        pass
    try:
        torch = probe_torch(host)
        facts |= {"torch": str(torch["version"]), "torch_cuda": str(torch["cuda"] or "")}
    except (NotApplicable, Unmeasured):
        pass
    return {name: value for name, value in facts.items() if value and value != [""]}


def _find_line(text: str, name: str, separator: str = ":") -> str:
    line = next((line for line in text.splitlines() if line.startswith(name)), "")
    return line.partition(separator)[2].strip()


def _order_date(text: str) -> str:
    """`03/28/2024` of DMI as `2024.03.28`, which is ordered as a version."""
    match = re.fullmatch(r"(\d{2})/(\d{2})/(\d{4})", text)
    return f"{match[3]}.{match[1]}.{match[2]}" if match else ""
