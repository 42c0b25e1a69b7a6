"""Replicates of two evaluations, subtracted: a paired bootstrap without a row of data. Pure, but for `read`.

The draws of a bootstrap depend on rows and seed, not on the model, so the replicates of two models on the same rows
belong to the same draws one by one (docs/adr/0019). No library is needed to subtract and sort some thousand numbers.
"""

from __future__ import annotations

import json
import math
import sys
from array import array
from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from apps.platform.artifacts.services import Damaged
from apps.platform.artifacts.verification import open_verified

SCHEMA = "plane/replicates/v1"
MAX_BYTES = 96 << 20
MIN_DEFINED_SHARE = 0.9  # as the engine has it: of fewer no interval is drawn

Key = tuple[tuple[str, str] | None, str]  # (slice, metric)


def read_replicates(digest: str) -> dict[Key, dict[str, Any]]:
    """The series of a ``replicates.json``, draws still encoded; Damaged where its bytes are gone or others."""
    with closing(open_verified(digest)) as reading:
        if reading.artifact.size > MAX_BYTES:
            raise Damaged(digest)
        document = json.loads(b"".join(reading))
    return {
        ((tuple(series["slice"]) if series["slice"] else None), series["metric"]): series
        for series in document["series"]
    }


def decode_draws(series: Mapping[str, Any]) -> array[float]:
    """Little-endian float64 in base64, as numbers."""
    draws = array("d", b64decode(series["draws"]))
    if sys.byteorder == "big":
        draws.byteswap()
    return draws


def compute_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[float]:
    """Ours less theirs, draw by draw, where both are defined; none where too few are."""
    our_draws, their_draws = decode_draws(ours), decode_draws(theirs)
    if len(our_draws) != len(their_draws):
        return []
    paired_differences = [
        a - b for a, b in zip(our_draws, their_draws, strict=True) if math.isfinite(a) and math.isfinite(b)
    ]
    return paired_differences if len(paired_differences) >= MIN_DEFINED_SHARE * len(our_draws) else []


def compute_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """The percentile interval, between order statistics by linear interpolation as numpy.quantile draws it."""
    ordered = sorted(values)
    return compute_quantile(ordered, (1 - confidence) / 2), compute_quantile(ordered, (1 + confidence) / 2)


def compute_quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
