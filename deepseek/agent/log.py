"""The log of the agent: JSON lines on standard error. What is logged is chosen field by field, so no token gets in."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
MAX_TEXT = 500


class JsonLog:
    """One line for each event. `device` names the device where several share a process; `least` is logged."""

    _lock = threading.Lock()

    def __init__(self, stream: TextIO | None = None, *, device: str = "", least: Level = "debug") -> None:
        self._stream, self.device, self._least = stream, device, LEVELS.index(least)

    def write(self, event: str, level: Level = "info", **fields: str | float | int | bool | None) -> None:
        """Log an event with its fields; a text is cut."""
        if LEVELS.index(level) < self._least:
            return
        line: dict[str, str | float | int | bool | None] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
        }
        if self.device:
            line["device"] = self.device
        line |= {name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in fields.items()}
        with self._lock, suppress(OSError):  # a log on a full disk ends no service
            stream = self._stream or sys.stderr
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            stream.flush()
