"""What a process of the same user learns of the plane, and what the child of a job reaches: L1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.attacks.target import Outcome, Target

PTRACE_SEIZE = 0x4206  # attaches without stopping the process


def inspect_plane_processes(target: Target) -> Outcome:
    """L1: environment and memory of launcher, web, worker, dispatcher and beat, by another process of the same user."""
    facts = target.running.facts()
    processes = {"launcher": facts["launcher"], **facts["processes"]}
    open_to_us = {name for name, pid in processes.items() if is_dumpable(pid)}
    return Outcome(not open_to_us, f"open to the same user: {', '.join(sorted(open_to_us)) or 'none'}")


def is_dumpable(pid: int) -> bool:
    """Whether another process of the same user may trace this one, which is to read and write its memory.

    `python -m tests.attacks` starts everything without CAP_SYS_PTRACE, so that root is no exception.
    """
    seize = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace({PTRACE_SEIZE}, {pid}, None, None) != 0)"
    command = [sys.executable, "-c", seize]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def inspect_engine_child(target: Target) -> Outcome:
    """L1: the engine's child has no new privileges, no capabilities, no network, and does not see keys or database."""
    plane = target.plane()
    job = plane.post("/jobs", {"kind": "noop", "spec": {"seconds": 30, "steps": 300}})["id"]
    target.running.in_the_middle(job, done=3)
    engine = target.running.engine(job)
    faults = list_freedoms(engine, target)
    plane.post(f"/jobs/{job}/cancel")
    plane.wait(job, seconds=30)
    return Outcome(not faults, "; ".join(faults) or f"runs as user {psutil.Process().uids().real} or less, contained")


def list_freedoms(engine: psutil.Process, target: Target) -> list[str]:
    root = Path(f"/proc/{engine.pid}")
    status = dict(line.split(":\t", 1) for line in (root / "status").read_text().splitlines() if ":\t" in line)
    faults = []
    if status["NoNewPrivs"].strip() != "1":
        faults.append("may gain privileges")
    if int(status["CapEff"], 16) or int(status["CapBnd"], 16):
        faults.append("has capabilities")
    if os.readlink(root / "ns/net") == os.readlink("/proc/self/ns/net"):
        faults.append("shares the host's network")
    for name in ("plane.sqlite3", "keys", "secret.key", "artifacts"):
        path = target.home / name
        inside = root / "root" / path.relative_to("/")
        if path.exists() and is_readable_by(inside, path, engine):
            faults.append(f"reads {name}")
    return faults


def is_readable_by(inside: Path, path: Path, engine: psutil.Process) -> bool:
    """Whether this path of the engine's file system is the plane's own, and its user may open it."""
    try:
        seen, real = inside.stat(), path.stat()
    except OSError:
        return False
    if (seen.st_dev, seen.st_ino) != (real.st_dev, real.st_ino):
        return False
    return engine.uids().real in (0, seen.st_uid) or bool(seen.st_mode & 0o007)
