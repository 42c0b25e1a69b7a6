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
LARGEST = 96 << 20
FEWEST_DEFINED = 0.9  # as the engine has it: of fewer no interval is drawn

Key = tuple[tuple[str, str] | None, str]  # (slice, metric)


def read(digest: str) -> dict[Key, dict[str, Any]]:
    """The series of a ``replicates.json``, draws still encoded; Damaged where its bytes are gone or others."""
    with closing(open_verified(digest)) as reading:
        if reading.artifact.size > LARGEST:
            raise Damaged(digest)
        told = json.loads(b"".join(reading))
    return {((tuple(one["slice"]) if one["slice"] else None), one["metric"]): one for one in told["series"]}


def draws_of(series: Mapping[str, Any]) -> array[float]:
    """Little-endian float64 in base64, as numbers."""
    found = array("d", b64decode(series["draws"]))
    if sys.byteorder == "big":
        found.byteswap()
    return found


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[float]:
    """Ours less theirs, draw by draw, where both are defined; none where too few are."""
    mine, others = draws_of(ours), draws_of(theirs)
    if len(mine) != len(others):
        return []
    found = [a - b for a, b in zip(mine, others, strict=True) if math.isfinite(a) and math.isfinite(b)]
    return found if len(found) >= FEWEST_DEFINED * len(mine) else []


def interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """The percentile interval, between order statistics by linear interpolation as numpy.quantile draws it."""
    ordered = sorted(values)
    return quantile(ordered, (1 - confidence) / 2), quantile(ordered, (1 + confidence) / 2)


def quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
