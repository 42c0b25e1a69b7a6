"""Resolve the encoding and delimiter that a spec leaves to detection, with notes where the result is uncertain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deepseek.messages import Message
from deepseek.tables.csv_dialect import DialectDetection, detect_dialect
from deepseek.tables.csv_faults import ENCODING_FIELD, CsvError
from deepseek.tables.csv_records import read_chunks
from deepseek.tables.spec import CsvSpec


def resolve_csv_spec(path: Path, spec: CsvSpec, *, cut: bool = False) -> tuple[CsvSpec, list[str]]:
    """Return the spec with encoding and delimiter detected, and notes where the detection is uncertain.

    `cut`: the file is the beginning of a longer one, and may end in the middle of a character. Raises CsvError
    ``csv_encoding_unknown``, naming bytes.
    """
    try:
        detection = detect_dialect(read_chunks(path), spec.delimiter, spec.encoding, cut=cut)
    except CsvError as error:
        error.value = spec.encoding if error.field == ENCODING_FIELD else error.value
        raise
    dialect = {"encoding": detection.dialect.encoding, "delimiter": detection.dialect.delimiter}
    return spec.model_copy(update=dialect), list(describe_uncertainty(detection))


def describe_uncertainty(detection: DialectDetection) -> Iterator[str]:
    """Describe what the file leaves open: the job goes on with the likeliest reading and says so."""
    if detection.not_utf8 is not None:
        yield Message(
            "The encoding was taken for gb18030, for byte {byte} is not valid UTF-8. "
            "Other encodings of one or two bytes cannot be ruled out: look at the preview.",
            byte=detection.not_utf8,
        )
    delimiter = detection.dialect.delimiter
    alternatives = ", ".join(map(repr, [*detection.delimiters[1:], *detection.narrower]))
    if alternatives:
        yield Message(
            "The delimiter was taken for {delimiter!r}, which gives the most cells; {others} would do too.",
            delimiter=delimiter,
            others=alternatives,
        )
