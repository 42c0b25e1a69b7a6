"""A Report for people: progress and log lines on standard error."""

import sys
import time
from pathlib import Path
from typing import TextIO

from deepseek.job import Level

_REDRAW_SECONDS = 0.1


class ConsoleReport:
    """On a terminal one line that redraws itself; elsewhere one plain line per stage begun and per log line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._stage: str | None = None
        self._drawn = 0.0

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        """Draw the progress; at most ten times a second within a stage."""
        if not self._live:
            if stage != self._stage:
                self._stage = stage
                self._write(f"{stage}\n" if total is None else f"{stage}: {total:g} {unit}\n")
            return
        now = time.monotonic()
        if stage == self._stage and done != total and now - self._drawn < _REDRAW_SECONDS:
            return
        self._stage, self._drawn = stage, now
        share = "" if not total else f" {100 * done / total:3.0f} %"
        self._write(f"\r\x1b[K{stage}: {done:,.0f} {unit}{share}")

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Metrics are part of the result; the console leaves them out."""

    def log(self, text: str, *, level: Level = "info") -> None:
        """Write one line, above the progress."""
        self.close()
        self._write(f"{text}\n" if level == "info" else f"{level}: {text}\n")

    def checkpoint(self, path: Path, step: int) -> None:
        """The file beside the output folder is all that is needed; the console leaves it out."""

    def close(self) -> None:
        """Clear the progress line, so that the next output starts on a clean one."""
        if self._live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
