"""How a CSV file is written, encoding and delimiter, found in its bytes.

Standard library only: the web process reads small files with it, the engine all. Memory is bounded by one chunk and
HEAD_BYTES.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from deepseek.tables.csv_faults import (
    EITHER_ENCODING,
    ENCODINGS,
    build_neither_encoding_error,
    build_nul_byte_error,
    build_unknown_delimiter_error,
    build_unlikely_encoding_error,
    build_utf16_error,
)

AUTO = "auto"
DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 64 << 10  # in which a delimiter is found
HEAD_RECORDS = 200  # of them, at most
MAX_SAMPLE_CHARACTERS = 10_000  # outside of ASCII, which tell whether a text is Chinese
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
QUOTED = re.compile(r'"[^"]*"')
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class CsvDialect:
    delimiter: str = ","
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class DialectDetection:
    """The likeliest dialect of a file, and what the file leaves open.

    `delimiters`: all that it may be, likeliest first; `narrower`: those that fit every record too, with fewer cells.
    `not_utf8`: the first byte for which a file was taken for gb18030; `is_common`: whether it is mostly common Chinese.
    """

    dialect: CsvDialect
    delimiters: tuple[str, ...] = ()
    narrower: tuple[str, ...] = ()
    not_utf8: int | None = None
    is_common: bool = True


def is_delimiter(text: str) -> bool:
    """Whether it may stand between cells: one ASCII character other than a letter, a digit, a quote or a line end."""
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in '"\r\n\0'


def find_dialect(chunks: Iterable[bytes], delimiter: str = AUTO, encoding: str = AUTO) -> CsvDialect:
    """Return the requested dialect with AUTO resolved; an uncertain result is refused, never guessed.

    Raises CsvError ``csv_encoding_unknown`` and ``csv_delimiter_unknown`` where the file leaves it open, and
    ``csv_nul_byte``.
    """
    detection = detect_dialect(refuse_nul(chunks, EITHER_ENCODING), delimiter, encoding)
    if not detection.is_common:
        raise build_unlikely_encoding_error(detection.not_utf8)
    if len(detection.delimiters) > 1:
        raise build_unknown_delimiter_error(detection.delimiters)
    return detection.dialect


def guess_dialect(head: bytes) -> CsvDialect | None:
    """The likeliest dialect of a file that begins with these bytes, up to HEAD_BYTES; None for no text."""
    if b"\0" in head:
        return None
    for encoding in ENCODINGS:
        try:
            codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < HEAD_BYTES)
        except UnicodeDecodeError:
            continue
        return CsvDialect(rank_delimiters(head, encoding)[0][0], encoding)
    return None


def detect_dialect(
    chunks: Iterable[bytes], delimiter: str = AUTO, encoding: str = AUTO, *, cut: bool = False
) -> DialectDetection:
    """Find what is AUTO: the encoding by every byte, the delimiter by the first records.

    `cut`: the chunks are the beginning of a file, and may end within a character. Raises CsvError
    ``csv_encoding_unknown`` for bytes that are neither UTF-8 nor GB18030.
    """
    if AUTO not in (delimiter, encoding):
        return DialectDetection(CsvDialect(delimiter, encoding))
    trials = EncodingTrials() if encoding == AUTO else None
    head = bytearray()
    for chunk in chunks:
        head += chunk[: HEAD_BYTES - len(head)]
        if trials is not None:
            trials.take(chunk)
        elif len(head) == HEAD_BYTES:
            break
    not_utf8, is_common = None, True
    if trials is not None:
        encoding, not_utf8, is_common = trials.finish(cut=cut)
    likely, narrower = rank_delimiters(bytes(head), encoding) if delimiter == AUTO else ([delimiter], [])
    return DialectDetection(CsvDialect(likely[0], encoding), tuple(likely), tuple(narrower), not_utf8, is_common)


def refuse_nul(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The chunks; raises CsvError ``csv_nul_byte`` at the first NUL byte."""
    offset = 0
    for chunk in chunks:
        if (nul := chunk.find(b"\0")) >= 0:
            raise build_nul_byte_error(offset + nul, encoding)
        offset += len(chunk)
        yield chunk


# -- encoding ---------------------------------------------------------------------------------------------------------
@dataclass
class EncodingTrial:
    """One encoding, tried on chunk after chunk; `failed` is the first byte that is not of it."""

    encoding: str
    failed: int | None = None
    letters: str = ""  # the first outside of ASCII, up to MAX_SAMPLE_CHARACTERS
    decoder: codecs.IncrementalDecoder = field(init=False)

    def __post_init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder(self.encoding)()

    def take(self, chunk: bytes, offset: int, *, final: bool) -> None:
        pending_bytes = len(self.decoder.getstate()[0])
        if self.failed is not None or (not pending_bytes and chunk.isascii()):
            return
        try:
            text = self.decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            self.failed = offset - pending_bytes + error.start
            return
        for at in range(0, len(text), MAX_SAMPLE_CHARACTERS):
            if self.encoding == "utf-8" or len(self.letters) == MAX_SAMPLE_CHARACTERS:
                break
            letters = "".join(NOT_ASCII.findall(text[at : at + MAX_SAMPLE_CHARACTERS]))
            self.letters = (self.letters + letters)[:MAX_SAMPLE_CHARACTERS]

    def is_common(self) -> bool:
        """Whether more of the letters are common Chinese, which GB 2312 has, than are not."""
        return len(self.letters.encode("gb2312", "ignore")) > len(self.letters)  # it takes two bytes for each


class EncodingTrials:
    """UTF-8 and GB18030, tried together in one reading; raises CsvError once a file is neither."""

    def __init__(self) -> None:
        self.utf8, self.gb18030 = map(EncodingTrial, ENCODINGS)
        self.offset = 0

    def take(self, chunk: bytes, *, final: bool = False) -> None:
        if self.offset == 0 and chunk.startswith(UTF16_MARKS):
            raise build_utf16_error()
        for trial in (self.utf8, self.gb18030):
            trial.take(chunk, self.offset, final=final)
        if self.utf8.failed is not None and self.gb18030.failed is not None:
            raise build_neither_encoding_error(self.utf8.failed, self.gb18030.failed)
        self.offset += len(chunk)

    def finish(self, *, cut: bool) -> tuple[str, int | None, bool]:
        """The encoding, the byte that excludes UTF-8, and whether the text is likely in this encoding."""
        self.take(b"", final=not cut)
        if self.utf8.failed is None:
            return self.utf8.encoding, None, True
        return self.gb18030.encoding, self.utf8.failed, self.gb18030.is_common()


# -- delimiter --------------------------------------------------------------------------------------------------------
def rank_delimiters(head: bytes, encoding: str) -> tuple[list[str], list[str]]:
    """The delimiter that gives the first records the most cells, as many in each; several, likeliest first, where it
    is open which. Then those that give every record as many cells too, but fewer. A file in which none parts the
    header has one column: it is the comma.

    Where records differ in all of them, it is one that the header has: reading then names the row. One that gives the
    header more cells, but not every record as many, leaves it open, unless it stands there in quotes alone.
    """
    cut = len(head) >= HEAD_BYTES
    # Not str.splitlines, which also parts at form feeds and U+2028: a CSV reader does not.
    lines = list(io.StringIO(head.decode(encoding, "ignore").removeprefix("\ufeff"), newline=""))
    widths = {sign: count_cells(lines[:-1] if cut and len(lines) > 1 else lines, sign, cut) for sign in DELIMITERS}
    header = {sign: counts[0] for sign, counts in widths.items() if counts and counts[0] > 1}
    even = [sign for sign in header if len(set(widths[sign])) == 1]
    most = max((header[sign] for sign in even), default=1)
    bare = QUOTED.sub("", next((line for line in lines if line.strip()), ""))
    likely = [sign for sign in even if header[sign] == most]
    likely += [sign for sign in header if sign not in even and header[sign] > most and sign in bare]
    return sorted(likely, key=lambda sign: -header[sign]) or [","], [sign for sign in even if header[sign] < most]


def count_cells(lines: Sequence[str], delimiter: str, cut: bool) -> list[int]:
    """Cells of each of the first records that are not blank."""
    widths: list[int] = []
    try:
        for cells in csv.reader(lines, delimiter=delimiter):
            widths += [len(cells)] if cells else []
            if len(widths) == HEAD_RECORDS:
                return widths
    except csv.Error:
        return widths
    return widths[:-1] if cut and len(widths) > 1 else widths  # a quoted cell may go on behind what was read
