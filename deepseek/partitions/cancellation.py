"""Whether the task that this process is at is still wanted. A cluster's worker outlives the jobs whose tasks it runs.

A task looks between two batches, in whichever thread it reads them: the process runs one task at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TaskCancelledError(Exception):
    """Nobody waits for the task any more."""


def is_never_cancelled() -> bool:
    return False


_is_cancelled: Callable[[], bool] = is_never_cancelled


@contextmanager
def observe_cancellation(is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Let the task of the block end once `is_cancelled` says so, which is called for every batch."""
    global _is_cancelled
    _is_cancelled = is_cancelled
    try:
        yield
    finally:
        _is_cancelled = is_never_cancelled


def refuse_cancelled() -> None:
    """Raise TaskCancelledError where the task is not wanted any more."""
    if _is_cancelled():
        raise TaskCancelledError
