"""Long lists in pieces that a statement takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def split_into_chunks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` rows, the last of what is left."""
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        yield chunk
