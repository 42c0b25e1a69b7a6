"""Who this device is: its own key, and what the plane calls it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepseek.agent.errors import AgentError
from deepseek.agent.storage.disk import read_json
from deepseek.agent.storage.home import Home
from deepseek.installation import get_distribution
from deepseek.signing.keys import FileSigner, generate_key, load_private_key, save_private_key

ARCHITECTURES: Mapping[str, str] = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
"""Of `uname -m` -> of releases."""


@dataclass(frozen=True)
class Identity:
    """What the plane knows the device as. `plane` is the address that it enrolled at."""

    device: str
    project: str
    plane: str
    name: str
    token: str = field(repr=False)


def load_identity(home: Home) -> Identity | None:
    """The identity in the home folder; None on a device that has not enrolled."""
    stored = read_json(home.device_file)
    return None if stored is None else Identity(**stored)


def store_identity(home: Home, identity: Identity) -> None:
    home.disk.write_json(home.device_file, asdict(identity))


def load_or_create_key(home: Home) -> FileSigner:
    """The device's key, which is on the disk before anything is signed with it."""
    if not home.key_file.exists():
        save_private_key(home.key_file, generate_key())
        home.disk.observe("after device.key")
    return load_private_key(home.key_file)


def detect_architecture() -> str:
    """The architecture of this machine. Raises AgentError ``architecture_unsupported``."""
    machine = platform.machine().lower()
    if machine not in ARCHITECTURES:
        raise AgentError(
            "architecture_unsupported",
            f"There are no releases for machines of the architecture {machine}.",
            field="architecture",
            value=machine,
            limit="x86_64, aarch64",
            hint="Run the agent on a 64-bit processor of Intel, AMD or Arm.",
        )
    return ARCHITECTURES[machine]


def get_agent_version() -> str:
    """The version of the installed package, which carries the agent."""
    return get_distribution()[1]


def read_boot_id() -> str:
    """What names this start of the machine, so that the plane sees a restart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or "unknown"
    except OSError:
        return "unknown"
