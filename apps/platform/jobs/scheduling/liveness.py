"""Liveness of the dispatcher and the sealer: each writes the time to the shared cache for all web hosts."""

from __future__ import annotations

import time

from django.core.cache import cache

STALE_SECONDS = 10.0
BEAT_SECONDS = 2.0  # between two writes: a beat per round would be a write per round
PARTS = ("dispatcher", "sealer")

_last_beats: dict[str, float] = {}


def record_beat(part: str) -> None:
    """Record that `part` is alive; at most every BEAT_SECONDS, whatever the length of its rounds."""
    now = time.monotonic()  # a clock that is set back must not silence it
    if now - _last_beats.get(part, -BEAT_SECONDS) >= BEAT_SECONDS:
        cache.set(f"pulse:{part}", time.time(), timeout=3600)
        _last_beats[part] = now


def get_beat_age(part: str) -> float | None:
    """Seconds since the last beat; None if there was none within the hour, or it is one of the future.

    That one was left before the clock was set back; who is alive leaves another within BEAT_SECONDS.
    """
    beaten = cache.get(f"pulse:{part}")
    seconds = None if beaten is None else time.time() - float(beaten)
    return None if seconds is None or seconds < -STALE_SECONDS else max(0.0, seconds)
