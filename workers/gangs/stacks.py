"""The stacks of an attempt's processes, written into its log by those that have promised to."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psutil

from workers.process import MARKER

STACKS_SIGNAL = signal.SIGUSR1  # deepseek/torchrun/rank.py


def dump_stacks(mark: str) -> int:
    """Ask every process of the attempt that catches the signal for its stacks; returns how many were asked.

    Any other would end by it.
    """
    count = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, ValueError):
            if process.environ().get(MARKER) == mark and catches(process.pid, STACKS_SIGNAL):
                process.send_signal(STACKS_SIGNAL)
                count += 1
    return count


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler of its own for the signal."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
