"""A cgroup for each attempt, below the one that was delegated to this worker: the kernel then bounds its memory.

cgroup v2 only. systemd delegates with `Delegate=yes`; a container does by a writable /sys/fs/cgroup. Processes may only
be in leaves, so the worker first moves itself into one of its own. Where nothing is delegated, the shim's watch bounds
the memory alone (workers/memory_watch.py).
"""

from __future__ import annotations

import errno
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from apps.platform.nodes.hardware import SUPERVISOR
from workers.memory_watch import kill_group
from workers.process import is_of_dead_worker

log = logging.getLogger(__name__)

ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # the second where v1 is mounted beside it
PROC = Path("/proc")
PREFIX = "job-"
DELEGATION_XATTRS = ("user.delegate", "trusted.delegate")  # what systemd sets on a folder that it delegates
MOVES = 5  # a process may fork while the others are moved
REMOVE_SECONDS = 5.0  # a killed process is in its group until the kernel has cleaned up behind it

_delegated: Path | None = None


def get_delegated() -> Path | None:
    """The cgroup below which this worker makes those of its attempts; None where there is none."""
    return _delegated


def prepare_delegated(roots: tuple[Path, ...] = ROOTS, proc: Path = PROC) -> Path | None:
    """Find the cgroup that is delegated to this worker and enable the memory controller below it."""
    global _delegated
    _delegated = None
    own = find_own_group(roots, proc)
    folder = own.parent if own is not None and own.name == SUPERVISOR else own
    if folder is None or own is None or not is_delegated(folder, roots):
        return None
    try:
        if "memory" not in (folder / "cgroup.controllers").read_text().split():
            return None
        enable_memory(folder, move=folder == own)
    except OSError as failure:
        log.warning("no memory limits by cgroup below %s: %s", folder, failure.strerror)
        return None
    _delegated = folder
    for left in folder.glob(f"{PREFIX}*"):
        if is_of_dead_worker(left.name.removeprefix(PREFIX).replace("-", ":")):
            kill_group(left)
            remove_group(left)
    return folder


def find_own_group(roots: tuple[Path, ...], proc: Path) -> Path | None:
    """The folder of this process's own cgroup v2."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    root = next((root for root in roots if (root / "cgroup.controllers").is_file()), None)
    return root / path.lstrip("/") if path is not None and root is not None else None


def is_delegated(folder: Path, roots: tuple[Path, ...]) -> bool:
    """Whether the cgroup is this worker's to divide. To be able to write is no leave: a session holds others too.

    systemd says so by an attribute; a container, by showing its own cgroup as the root, which unlike the machine's has
    a type.
    """
    if not os.access(folder, os.W_OK) or not os.access(folder / "cgroup.subtree_control", os.W_OK):
        return False
    for name in DELEGATION_XATTRS:
        with suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return folder in roots and (folder / "cgroup.type").is_file()


def enable_memory(folder: Path, *, move: bool) -> None:
    """Enable the controller below `folder`; `move`: its own processes go to a leaf first, as the kernel demands it."""
    for left in reversed(range(MOVES)):
        if move:
            move_processes(folder, folder / SUPERVISOR)
        try:
            (folder / "cgroup.subtree_control").write_text("+memory")
            return
        except OSError as failure:
            if failure.errno != errno.EBUSY or not left:
                raise


def move_processes(source: Path, leaf: Path) -> None:
    """Move every process of a cgroup into one below it."""
    leaf.mkdir(exist_ok=True)
    for pid in (source / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)


def create_group(mark: str, memory_bytes: int) -> Path | None:
    """The cgroup of one attempt with its limit; None where nothing is delegated, or the kernel refuses it.

    Without swap, or a job would take that of all others; `memory.oom.group`, or the kernel would kill one process of
    the tree and leave the rest waiting for it.
    """
    if _delegated is None or not memory_bytes:
        return None
    group = _delegated / f"{PREFIX}{mark.replace(':', '-')}"
    try:
        group.mkdir()
        (group / "memory.max").write_text(str(memory_bytes))
        (group / "memory.oom.group").write_text("1")
        with suppress(FileNotFoundError):  # a kernel without swap accounting
            (group / "memory.swap.max").write_text("0")
    except OSError as failure:
        log.warning("%s: no cgroup: %s", mark, failure.strerror)
        remove_group(group)
        return None
    return group


def remove_group(group: Path | None) -> None:
    """Remove the cgroup of an attempt whose processes have ended."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while group is not None and group.is_dir():
        try:
            group.rmdir()
        except OSError as failure:
            if time.monotonic() > deadline:
                log.warning("%s is left: %s", group, failure.strerror)
                return
            kill_group(group)
            time.sleep(0.02)
