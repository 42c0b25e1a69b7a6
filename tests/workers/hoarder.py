"""Engines that take memory in ways that a limit must tell apart."""

from __future__ import annotations

import mmap
import os
import signal
import time
from pathlib import Path

from deepseek.job import Result

MIB = 2**20


def run_children(spec, *, inputs, out, report) -> Result:
    """Two children of 48 MiB each, neither too large by itself, in sessions of their own."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            taken = b"\1" * (48 * MIB)
            time.sleep(60)
            os._exit(len(taken) % 2)
    signal.pause()
    return Result(())


def map_file(spec, *, inputs, out, report) -> Result:
    """A mapped file of 96 MiB, every page of it read, in memory for several looks of the watch."""
    path = Path(out).with_name("mapped")
    with path.open("wb+") as file:
        file.truncate(96 * MIB)
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            sum(mapped[start] for start in range(0, len(mapped), 4096))
            time.sleep(0.2)
    return Result(())


def fill_shm(spec, *, inputs, out, report) -> Result:
    """Files in /dev/shm that nobody has mapped, and time for several looks."""
    with Path("/dev/shm/taken").open("wb") as file:
        for _ in range(48):
            file.write(b"\1" * MIB)
    time.sleep(60)
    return Result(())


def overfill_shm(spec, *, inputs, out, report) -> Result:
    """More than a /dev/shm as large as the job's memory takes, mapped and at once: SIGBUS, between two looks."""
    time.sleep(2)  # the watch has found the folder
    with Path("/dev/shm/taken").open("wb+") as file:
        file.truncate(spec.size)
        with mmap.mmap(file.fileno(), 0) as mapped:
            for start in range(0, len(mapped), 4096):
                mapped[start] = 1
    return Result(())
