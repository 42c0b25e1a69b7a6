"""What a device says of itself now and then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

MAX_METRICS = 50
Health = Literal["healthy", "failing", "unknown"]


@dataclass(frozen=True)
class Heartbeat:
    """`running`: the release whose server answers; `installed`: the newest one on the disk."""

    running: str | None
    installed: str | None
    health: Health

    def to_body(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {
            "running": self.running,
            "installed": self.installed,
            "health": self.health,
            "metrics": dict(list(metrics.items())[:MAX_METRICS]),
            "clock": now,
        }


def measure_agent(home: Path) -> dict[str, float]:
    """Figures of the agent itself."""
    return {
        "agent_resident_memory_bytes": float(read_resident_bytes()),
        "disk_free_bytes": float(shutil.disk_usage(home).free),
    }


def read_resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def measure_offset(now: object, clock: datetime) -> float | None:
    """Seconds that this machine's clock is ahead of the plane's; None where the plane's time cannot be read."""
    try:
        plane = datetime.fromisoformat(str(now))
        return (clock - plane).total_seconds()
    except (ValueError, TypeError):
        return None
