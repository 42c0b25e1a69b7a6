"""Content-defined blocks of a stream: where bytes are inserted or removed, the blocks before and behind stay the same.

A rolling hash over the last 32 bytes (Gear; Xia et al.: FastCDC, USENIX ATC 2016) decides where a block ends. It is
computed for a whole piece at once by doubling: h2[i] = h1[i] + (h1[i-1] << 1), h4[i] = h2[i] + (h2[i-2] << 2), ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

MIN_BYTES = 64 << 10
AVERAGE_BITS = 18  # 256 KiB between two boundaries, on average
MAX_BYTES = 1 << 20
WINDOW = 32
PIECE = 256 << 10  # hashed at once: its tables stay in the processor's cache
READ_BYTES = 8 << 20

Words = npt.NDArray[np.uint32]


def build_table(seed: bytes) -> Words:
    """A number for each byte, of a secret seed: lengths of blocks then tell nothing of known texts."""
    return np.frombuffer(hashlib.shake_256(b"gear" + seed).digest(1024), dtype="<u4").astype(np.uint32)


def split_blocks(chunks: Iterable[bytes], seed: bytes) -> Iterator[bytes]:
    """Blocks of MIN_BYTES to MAX_BYTES (the last may be shorter) that make up the stream."""
    table = build_table(seed)
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        if len(pending) >= READ_BYTES:
            yield from take_blocks(pending, table, is_end=False)
    yield from take_blocks(pending, table, is_end=True)


def take_blocks(pending: bytearray, table: Words, *, is_end: bool) -> Iterator[bytes]:
    """Blocks off the front of `pending`; what may still grow stays in it."""
    data = bytes(pending)
    boundaries = find_boundaries(data, table)
    start = 0
    while len(data) - start >= (1 if is_end else MAX_BYTES):
        end = min(start + MAX_BYTES, len(data))
        at = int(np.searchsorted(boundaries, start + MIN_BYTES))
        if at < len(boundaries) and boundaries[at] < end:
            end = int(boundaries[at])
        yield data[start:end]
        start = end
    del pending[:start]


def find_boundaries(data: bytes, table: Words) -> npt.NDArray[np.int64]:
    """Offsets behind which a block may end, ascending. One needs the WINDOW bytes before it alone."""
    found = []
    for start in range(0, len(data), PIECE):
        first = max(0, start - WINDOW + 1)
        hashes = table[np.frombuffer(data, dtype=np.uint8, count=min(len(data), start + PIECE) - first, offset=first)]
        for step in (1, 2, 4, 8, 16):
            hashes[step:] += hashes[:-step] << np.uint32(step)
        found.append(np.flatnonzero(hashes[start - first :] >> np.uint32(32 - AVERAGE_BITS) == 0) + start + 1)
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
