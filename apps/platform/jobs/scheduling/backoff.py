"""How long a job pauses before its next attempt."""

from __future__ import annotations

import random

from django.conf import settings

FACTOR = 5.0  # 5 s, 25 s, 2 min, 10 min
JITTER = 0.2  # jobs that failed together must not come back together
STALL_LIMIT_SECONDS = 60.0  # nobody wants to wait much longer once a disk has room again


def compute_retry_pause(failures: int) -> float:
    """Seconds before the next attempt of a job of which `failures` attempts have failed; with jitter."""
    return _compute_pause(failures, settings.ENV.retry_limit_seconds)


def compute_stall_pause(stalls: int) -> float:
    """Seconds before the next attempt of a job that was stalled for the `stalls`-th time; with jitter."""
    return _compute_pause(stalls, min(STALL_LIMIT_SECONDS, settings.ENV.retry_limit_seconds))


def _compute_pause(count: int, limit: float) -> float:
    if count < 1:
        return 0.0
    pause = min(limit, settings.ENV.retry_seconds * FACTOR ** min(count - 1, 20))
    return float(pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret depends on it
