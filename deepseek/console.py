"""A Report for people: progress and log lines on standard error."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from deepseek.job import Level

_REDRAW_SECONDS = 0.1
_METRIC_SECONDS = 2.0


class ConsoleReport:
    """On a terminal one line that redraws itself; elsewhere one plain line per stage begun and per log line.

    Metrics that come step by step stand in the line, or elsewhere on a line of their own every two seconds.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._stage: str | None = None
        self._drawn = 0.0
        self._metrics: dict[str, float] = {}  # the newest of each, of this stage
        self._step = 0  # to which they belong
        self._told = 0.0

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        """Draw the progress; at most ten times a second within a stage."""
        if stage != self._stage:
            self._metrics.clear()
            self._told = time.monotonic()
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
        line = f"{stage}: {done:,.0f} {unit}{share}{self._format_metrics()}"
        self._write(f"\r\x1b[K{line[: self._get_width()]}")

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Show a metric of a step; those of the whole run are part of the result, which the command prints."""
        if not step:
            return
        now = time.monotonic()
        if not self._live and name in self._metrics and now - self._told >= _METRIC_SECONDS:
            self._told = now
            self._write(f"step {self._step}:{self._format_metrics()}\n")
        self._metrics[name], self._step = value, step

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

    def _format_metrics(self) -> str:
        return "".join(f"  {name} {value:.4g}" for name, value in self._metrics.items())

    def _get_width(self) -> int:
        """Columns that a line may fill; a longer one would wrap, and could not be drawn over."""
        with suppress(OSError, ValueError):
            return max(20, os.get_terminal_size(self._stream.fileno()).columns - 1)
        return 79

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
