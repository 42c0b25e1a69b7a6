"""How a CSV file is written, encoding and delimiter, found in its bytes. Pure.

Memory is bounded by one chunk and ENOUGH. What is not certain is not guessed: a version never changes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from apps.datasets.inspection import ENCODINGS, check_dialect, nul_byte
from apps.datasets.manifest import Dialect
from apps.errors import Invalid

AUTO = "auto"
ENOUGH = 64 << 10  # bytes in which a delimiter is found
RECORDS = 200  # of them, at most
JUDGED = 10_000  # characters outside of ASCII that tell whether a text is Chinese
QUOTED = re.compile(r'"[^"]*"')
DELIMITERS = (",", ";", "\t", "|")
BOTH = " or ".join(ENCODINGS)


@dataclass
class Trial:
    """One encoding, tried on chunk after chunk; `failed` is the first byte that is not of it."""

    encoding: str
    failed: int | None = None
    common: int = 0  # of the first characters outside of ASCII those that GB 2312 has, and those that it has not
    rare: int = 0
    decoder: codecs.IncrementalDecoder = field(init=False)

    def __post_init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder(self.encoding)()

    def take(self, chunk: bytes, offset: int) -> None:
        """An empty chunk is the end."""
        if self.failed is not None:
            return
        held = len(self.decoder.getstate()[0])
        try:
            text = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            self.failed = offset - held + error.start
            return
        if self.common + self.rare < JUDGED and not text.isascii():
            for letter in islice((each for each in text if not each.isascii()), JUDGED):
                if letter.encode("gb2312", "ignore"):
                    self.common += 1
                else:
                    self.rare += 1


def check_asked(delimiter: str, encoding: str) -> None:
    """Raise Invalid for what is neither AUTO nor a way to read a CSV file."""
    check_dialect("," if delimiter == AUTO else delimiter, ENCODINGS[0] if encoding == AUTO else encoding)


def find_dialect(chunks: Iterable[bytes], delimiter: str, encoding: str) -> Dialect:
    """What was asked, with what is AUTO put in: the encoding by every byte, the delimiter by the first records.

    Raises Invalid csv_encoding_unknown and csv_delimiter_unknown where the file leaves it open, csv_nul_byte,
    bad_delimiter and bad_encoding.
    """
    check_asked(delimiter, encoding)
    trials = [Trial(name) for name in ENCODINGS] if encoding == AUTO else []
    head, offset, plain = bytearray(), 0, True
    for chunk in chunks:
        head += chunk[: ENOUGH - len(head)]
        if not trials and len(head) == ENOUGH:
            break
        if (nul := chunk.find(b"\0")) >= 0:
            raise nul_byte(offset + nul, BOTH)
        plain = plain and chunk.isascii()  # which is the same in both
        if chunk and not plain:
            try_all(trials, chunk, offset)
        offset += len(chunk)
    if trials:
        try_all(trials, b"", offset)
        found = next(trial for trial in trials if trial.failed is None)
        if found is not trials[0] and found.rare >= found.common:
            raise unlikely(trials[0].failed)
        encoding = found.encoding
    if delimiter == AUTO:
        signs = delimiters_in(bytes(head), encoding)
        if len(signs) > 1:
            raise unknown_delimiter(signs)
        delimiter = signs[0]
    return Dialect(delimiter, encoding)


def try_all(trials: Sequence[Trial], chunk: bytes, offset: int) -> None:
    for trial in trials:
        trial.take(chunk, offset)
    if trials and all(trial.failed is not None for trial in trials):
        first, other = (trial.failed for trial in trials)
        raise Invalid(
            f"The encoding cannot be told: byte {first} is not valid utf-8, byte {other} is not valid gb18030.",
            code="csv_encoding_unknown",
            field="file",
            limit=f"{BOTH} from the first byte to the last",
            hint="Export it again as CSV in UTF-8.",
        )


def unlikely(byte: int | None) -> Invalid:
    """Bytes that are Latin letters with accents elsewhere are rare Chinese characters in gb18030."""
    return Invalid(
        f"The encoding cannot be told: byte {byte} is not valid utf-8, and as gb18030 it is mostly rare characters.",
        code="csv_encoding_unknown",
        field="file",
        limit=BOTH,
        hint="Export it again as CSV in UTF-8, or choose gb18030 if that is what it is.",
    )


def unknown_delimiter(found: Sequence[str]) -> Invalid:
    return Invalid(
        f"The delimiter cannot be told: it may be any of {', '.join(map(repr, found))}.",
        code="csv_delimiter_unknown",
        field="delimiter",
        limit="one that gives every row as many cells as the header",
        hint="Choose the delimiter instead of leaving it to be found.",
    )


def dialect_in(head: bytes) -> Dialect | None:
    """What the first bytes of a pushed file make likely; None for no text."""
    if b"\0" in head:
        return None
    for encoding in ENCODINGS:
        try:
            codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < ENOUGH)
        except UnicodeDecodeError:
            continue
        return Dialect(delimiters_in(head, encoding)[0], encoding)
    return None


def delimiters_in(head: bytes, encoding: str) -> list[str]:
    """The delimiter that gives the first records the most cells, as many in each; several, likeliest first, where it
    is open which. A file in which none parts the header has one column: it is the comma.

    Where records differ in all of them, it is one that the header has: reading then names the row. One that gives the
    header more cells, but not every record as many, leaves it open, unless it stands there in quotes alone.
    """
    cut = len(head) >= ENOUGH
    lines = list(io.StringIO(head.decode(encoding, "ignore").removeprefix("\ufeff"), newline=""))
    widths = {sign: widths_of(lines[:-1] if cut and len(lines) > 1 else lines, sign, cut) for sign in DELIMITERS}
    header = {sign: counts[0] for sign, counts in widths.items() if counts and counts[0] > 1}
    even = [sign for sign in header if len(set(widths[sign])) == 1]
    most = max((header[sign] for sign in even), default=1)
    bare = QUOTED.sub("", next((line for line in lines if line.strip()), ""))
    found = [sign for sign in even if header[sign] == most]
    found += [sign for sign in header if sign not in even and header[sign] > most and sign in bare]
    return sorted(found, key=lambda sign: -header[sign]) or [","]


def widths_of(lines: Sequence[str], delimiter: str, cut: bool) -> list[int]:
    """Cells of each of the first records that are not blank."""
    widths: list[int] = []
    try:
        for cells in csv.reader(lines, delimiter=delimiter):
            widths += [len(cells)] if cells else []
            if len(widths) == RECORDS:
                return widths
    except csv.Error:
        return widths
    return widths[:-1] if cut and len(widths) > 1 else widths  # a quoted cell may go on behind what was read
