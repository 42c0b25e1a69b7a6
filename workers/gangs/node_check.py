"""The check of a node before it takes its part in an attempt over several: one bad node would hold up all others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from apps.platform.artifacts.stores import get_store_folder
from apps.platform.nodes import hardware
from apps.platform.nodes.disks import find_short_disks
from deepseek.messages import Message

PROBE_BYTES = 1 << 20
CHECK_SECONDS = 120.0
INTERPRETER = "import hashlib; print(hashlib.sha256(b'node').hexdigest()[:8])"
EXPECTED = "545ea538"
GPUS = """
import torch
for number in range(torch.cuda.device_count()):
    ones = torch.ones(1024, 1024, device=f"cuda:{number}")
    assert float((ones @ ones)[0, 0]) == 1024, f"GPU {number} computes wrong"
print(torch.cuda.device_count())
"""


def find_fault(scratch: Path, devices: Sequence[int], memory_bytes: int) -> Message | None:
    """What keeps this node from taking part, in words, or None. `memory_bytes`: that the job takes here."""
    try:
        return find_short_resource(scratch, memory_bytes) or find_defect(scratch, devices)
    except subprocess.TimeoutExpired:
        return Message("the check did not end within {seconds:g} s", seconds=CHECK_SECONDS)
    except subprocess.CalledProcessError as failure:
        lines = failure.stderr.strip().splitlines()
        return Message(lines[-1][:200]) if lines else Message("the interpreter does not start")
    except OSError as failure:
        return Message("{reason}: {path}", reason=failure.strerror or str(failure), path=failure.filename or scratch)


def find_short_resource(scratch: Path, memory_bytes: int) -> Message | None:
    """The disk or the memory, where there is too little of it. What other processes of the machine hold counts."""
    if short := find_short_disks(hardware.measure_disks(scratch, get_store_folder())):
        return Message("the disk of {name} is short", name=short[0].get("name", "its folders"))
    free, _total = hardware.measure_memory()
    if free < memory_bytes:
        return Message(
            "{free:.1f} GB of memory are free, and the job takes {needed:.1f} GB",
            free=free / 1e9,
            needed=memory_bytes / 1e9,
        )
    return None


def find_defect(scratch: Path, devices: Sequence[int]) -> Message | None:
    """What computes or stores wrongly."""
    check_disk(scratch)
    if run_program(INTERPRETER, ()) != EXPECTED:
        return Message("the interpreter computes wrong")
    if devices and run_program(GPUS, devices) != str(len(devices)):
        return Message("torch does not find its {count} GPU(s)", count=len(devices))
    return None


def check_disk(folder: Path) -> None:
    """Write and read back; OSError where that fails, or other bytes come back."""
    path = folder / f"check-{os.getpid()}"
    data = os.urandom(PROBE_BYTES)
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.read_bytes() != data:
            raise OSError(0, "other bytes come back than were written", str(path))
    finally:
        path.unlink(missing_ok=True)


def run_program(program: str, devices: Sequence[int]) -> str:
    """What a few lines of Python print, in a process with these GPUs."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices))}
    ended = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=CHECK_SECONDS,
        env=environment,
    )
    return ended.stdout.strip()
