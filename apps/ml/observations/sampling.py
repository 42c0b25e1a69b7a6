"""Which ids are kept where a source keeps a share of them: the same for a prediction, its label, and every copy."""

from __future__ import annotations

import hashlib


def is_sampled(key: str, rate: float) -> bool:
    """Whether the id is among the share `rate`: the first 8 bytes of its SHA-256, as a part of 2**64, are below it."""
    return rate >= 1 or int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) < rate * 2**64
