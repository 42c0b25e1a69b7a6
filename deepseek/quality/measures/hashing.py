"""64-bit hashes of the values of a column, and of whole rows: equal values have equal hashes in every batch.

Numbers, dates and flags are hashed by a bijection of their bits, so the hashes of one column are as good as its values
(0.0 and -0.0 are two, as in Arrow). Texts go through SipHash (pandas), rows through a mix of their cells: of n
different ones about n**2 / 2**65 share a hash, 0.0003 of a hundred million.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]

MISSING = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(bits: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection of 64 bits that spreads them."""
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


def hash_column(column: pa.Array) -> Hashes | None:
    """One hash a row, MISSING where there is no value; None for a nested type, which has no equality in Arrow."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), MISSING, dtype=np.uint64)
    bits = _get_bits(column)
    if bits is None:
        return None
    hashes = mix(bits)
    if column.null_count:
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = MISSING
    return hashes


def hash_rows(columns: Sequence[Hashes]) -> Hashes:
    """One hash a row of all its cells, in their order; missing equals missing."""
    rows: Hashes = np.zeros(len(columns[0]), dtype=np.uint64)
    for hashes in columns:
        rows = mix(rows * np.uint64(31) + hashes)
    return rows


def _get_bits(column: pa.Array) -> Hashes | None:
    kind = column.type
    if pa.types.is_floating(kind):
        floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return cast(Hashes, floats.view(np.uint64))
    if pa.types.is_boolean(kind):
        return cast(Hashes, pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(np.uint64))
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        if pa.types.is_temporal(kind):
            width = pa.int32() if kind.bit_width == 32 else pa.int64()
            column = column.view(width)
        filled = pc.fill_null(column, pa.scalar(0, column.type)).to_numpy(zero_copy_only=False)
        return cast(Hashes, filled.astype(np.int64 if filled.dtype.kind == "i" else np.uint64).view(np.uint64))
    if pa.types.is_decimal(kind):
        column = column.cast(pa.string())
    elif not _is_bytes(kind):
        return None
    return _hash_texts(column)


def _is_bytes(kind: pa.DataType) -> bool:
    tests = ("is_string", "is_large_string", "is_binary", "is_large_binary", "is_fixed_size_binary", "is_string_view")
    return any(getattr(pa.types, name)(kind) for name in tests)


def _hash_texts(column: pa.Array) -> Hashes:
    """Each different text is hashed once."""
    from pandas.util import hash_array

    encoded = column.dictionary_encode()
    words: npt.NDArray[Any] = np.empty(len(encoded.dictionary) + 1, dtype=object)
    words[:-1] = encoded.dictionary.to_pylist()
    words[-1] = ""  # where the missing ones point
    hashes = hash_array(words, categorize=False)
    places = pc.fill_null(encoded.indices, len(words) - 1).to_numpy(zero_copy_only=False)
    return cast(Hashes, hashes[places])
