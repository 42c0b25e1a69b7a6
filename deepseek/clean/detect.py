"""Which encoding and which delimiter a text file has, found by reading it; told with what it rests on."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from pathlib import Path

from deepseek.clean.spec import AUTO, CsvSpec
from deepseek.job import EngineError

FIELD = "/csv/encoding"
CHUNK = 1 << 20
HEAD, RECORDS = 1 << 18, 200  # bytes and records that a delimiter is found in
DELIMITERS = (",", ";", "\t", "|")
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def resolved(path: Path, spec: CsvSpec, *, cut: bool = False) -> tuple[CsvSpec, list[str]]:
    """The spec with what it leaves to be found put in, and notes on what that rests on where it is not certain.

    `cut`: the file is the beginning of a longer one, and may end in the middle of a character. Raises EngineError
    ``bad_encoding`` and ``mixed_encoding``, naming bytes.
    """
    encoding, delimiter = spec.encoding, spec.delimiter
    notes: list[str] = []
    if encoding == AUTO:
        found, note = find_encoding(path, cut=cut)
        encoding, notes = ("gb18030" if found == "gb18030" else "utf-8"), [note] if note else []
    if delimiter == AUTO:
        delimiter, note = find_delimiter(path, encoding)
        notes += [note] if note else []
    return spec.model_copy(update={"encoding": encoding, "delimiter": delimiter}), notes


@dataclass
class _Trial:
    """One encoding, tried on chunk after chunk; `failed` is the first byte that is not of it."""

    name: str
    failed: int | None = None

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder(self.name)()

    def take(self, chunk: bytes, offset: int, final: bool) -> None:
        if self.failed is not None:
            return
        held = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            self.failed = offset - held + error.start


def find_encoding(path: Path, *, cut: bool = False) -> tuple[str, str]:
    """utf-8 or gb18030, by reading the whole file once, and a note where another encoding is possible too."""
    trials = [_Trial("utf-8"), _Trial("gb18030")]
    offset, ascii_only = 0, True
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if offset == 0 and chunk.startswith(WIDE_MARKS):
                raise _wide()
            ascii_only = ascii_only and chunk.isascii()
            if not ascii_only or not chunk:
                for trial in trials:
                    trial.take(chunk, offset, not chunk and not cut)
            if not chunk or all(trial.failed is not None for trial in trials):
                break
            offset += len(chunk)
    if trials[0].failed is None:
        return "utf-8", ""
    if trials[1].failed is None:
        return "gb18030", (
            f"The encoding was taken for gb18030, for byte {trials[0].failed} is not valid UTF-8. "
            "Other encodings of one or two bytes cannot be ruled out: look at the preview."
        )
    raise mixed(trials[0].failed, trials[1].failed)


def mixed(utf8: int, gb18030: int) -> EngineError:
    return EngineError(
        "mixed_encoding",
        f"The file is in no one encoding: byte {utf8} is not valid utf-8, byte {gb18030} is not valid gb18030.",
        field=FIELD,
        value=AUTO,
        limit="utf-8 or gb18030 from the first byte to the last",
        hint="Parts of the file were written in different encodings: convert each part before they are put together.",
    )


def _wide() -> EngineError:
    return EngineError(
        "bad_encoding",
        "The file begins with a mark of UTF-16.",
        field=FIELD,
        value=AUTO,
        limit="utf-8 or gb18030",
        hint="Export it as CSV in UTF-8.",
    )


def find_delimiter(path: Path, encoding: str) -> tuple[str, str]:
    """The delimiter that gives the most cells in every one of the first records, and a note where two would do."""
    with path.open("rb") as file:
        begin = file.read(HEAD)
    text = begin.decode(encoding, "ignore").removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)
    if len(begin) == HEAD and len(lines) > 1:
        lines.pop()
    fits = {sign: width for sign in DELIMITERS if (width := _width(lines, sign)) > 1}
    if not fits:
        return ",", ""
    best = max(fits, key=lambda sign: fits[sign])
    others = [repr(sign) for sign in fits if sign != best]
    if not others:
        return best, ""
    return best, f"The delimiter was taken for {best!r}, which gives the most cells; {', '.join(others)} would do too."


def _width(lines: list[str], delimiter: str) -> int:
    """Cells of every record, 0 where records differ."""
    widths = set()
    try:
        for number, cells in enumerate(csv.reader(lines, delimiter=delimiter)):
            if number == RECORDS:
                break
            if cells:
                widths.add(len(cells))
    except csv.Error:
        return 0
    return widths.pop() if len(widths) == 1 else 0
