"""What this machine's environment is, as one document. Reads files and the metadata of packages; starts nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

DMI = Path("/sys/class/dmi/id")
NVIDIA = Path("/proc/driver/nvidia/version")
FIRMWARE = {
    "board": "board_name",
    "board_vendor": "board_vendor",
    "bios_version": "bios_version",
    "bios_date": "bios_date",
    "product": "product_name",
}
MAX_TEXT = 200

Document = dict[str, dict[str, str]]


def collect_environment(gpus: Iterable[Mapping[str, Any]] = ()) -> Document:
    """The document of this machine; `gpus` as the node reports them."""
    return {
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "packages": dict(sorted(list_packages().items())),
        "system": {
            "kernel": platform.release(),
            "distribution": read_distribution(),
            "libc": " ".join(platform.libc_ver()).strip(),
            "architecture": platform.machine(),
        },
        "drivers": {"nvidia_module": read_nvidia_module(), **describe_gpus(gpus)},
        "firmware": {name: read_line(DMI / file) for name, file in FIRMWARE.items()},
    }


def list_packages() -> dict[str, str]:
    """Version of every installed distribution, by its normalised name (PEP 503)."""
    return {normalise_name(item.name): item.version for item in distributions() if item.name}


def normalise_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")[:MAX_TEXT]
    except OSError:
        return ""


def read_nvidia_module() -> str:
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", read_line(NVIDIA))
    return found[1] if found else ""


def describe_gpus(gpus: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {
        f"gpu_{gpu.get('index', number)}": " ".join(
            str(gpu[name]) for name in ("name", "driver", "vbios") if gpu.get(name)
        )
        for number, gpu in enumerate(gpus)
    }


def read_line(path: Path) -> str:
    """The first line of a file of the kernel; empty where there is none, or only root may read it."""
    try:
        return path.read_text(errors="replace").strip().partition("\n")[0][:MAX_TEXT]
    except OSError:
        return ""


def compute_environment_digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document, whatever the order of its members."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
