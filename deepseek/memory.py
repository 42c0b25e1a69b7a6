"""How much memory this run may take: what its job asked for, else what the machine has. Light to import."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_limit: ContextVar[int] = ContextVar("memory_limit", default=0)
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@contextmanager
def limit_memory(memory_bytes: int) -> Iterator[None]:
    """Declare what this run may take (0: what the machine has). It only informs; the worker enforces it."""
    token = _limit.set(memory_bytes)
    try:
        yield
    finally:
        _limit.reset(token)


def set_memory_limit(memory_bytes: int) -> None:
    """Declare what this process may take for as long as it lives, as a share of what the run may."""
    _limit.set(memory_bytes)


def get_allowed_bytes() -> int:
    """Bytes that this run may take."""
    return _limit.get() or get_machine_bytes()


def get_machine_bytes() -> int:
    """Memory of the machine, or of the container, or of addresses where those are bounded (ulimit -v)."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if addresses != resource.RLIM_INFINITY:
        bounds.append(addresses)
    for path in CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            bounds.append(int(text))
    return min(bounds)
