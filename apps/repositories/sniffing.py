"""How a CSV file is written, from its first bytes: encoding and delimiter. Pure."""

from __future__ import annotations

import codecs

from apps.datasets.inspection import ENCODINGS
from apps.datasets.manifest import Dialect

ENOUGH = 64 << 10  # bytes
DELIMITERS = (",", ";", "\t", "|")


def dialect_in(head: bytes) -> Dialect | None:
    """The first encoding that reads these bytes, and the delimiter that the header has most of; None for no text."""
    if b"\0" in head:
        return None
    for encoding in ENCODINGS:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < ENOUGH)
        except UnicodeDecodeError:
            continue
        header = unquoted(text.removeprefix("\ufeff").lstrip("\r\n").partition("\n")[0])
        return Dialect(max(DELIMITERS, key=header.count), encoding)
    return None


def unquoted(line: str) -> str:
    """A line without what stands in quotes."""
    return "".join(line.split('"')[::2])
