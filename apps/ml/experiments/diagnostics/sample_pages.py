"""The samples of a run as its page shows them: pictures by address, texts in pieces, answers, rows."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepseek.diagnostics.samples import ImageSamples, RowSamples, Samples, Span, TextSamples

MAX_SHOWN = 50
MAX_COLUMNS = 12  # features of a row on the page; the file has more
DATA_ADDRESS = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)")
SIGNATURES = {  # the first bytes of each type: what is served under a type is of that type
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: plain, or marked with a label. `state`: succeeded, failed, or "" where nothing is compared."""

    text: str
    label: str = ""
    state: str = ""


def decode_image(address: str) -> tuple[str, bytes] | None:
    """(media type, bytes) of a picture given as a data address; None for anything else."""
    match = DATA_ADDRESS.fullmatch(address)
    if match is None:
        return None
    try:
        data = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        return None
    return (match[1], data) if data.startswith(SIGNATURES[match[1]]) else None


def build_samples(samples: Samples) -> dict[str, Any]:
    """What the template of the kind takes."""
    context: dict[str, Any] = {"kind": samples.kind, "count": len(samples.samples)}
    if isinstance(samples, TextSamples):
        visible: list[Any] = [
            {"target": split_text(s.text, s.target), "prediction": split_text(s.text, s.prediction, s.target)}
            for s in samples.samples[:MAX_SHOWN]
        ]
    elif isinstance(samples, ImageSamples):
        visible = [
            {"place": place, "sample": sample, "is_wrong": sample.target != sample.prediction}
            for place, sample in enumerate(samples.samples[:MAX_SHOWN])
        ]
    else:
        visible = list(samples.samples[:MAX_SHOWN])
    if isinstance(samples, RowSamples):
        context |= build_row_columns(samples)
    return context | {"shown": visible}


def build_row_columns(samples: RowSamples) -> dict[str, Any]:
    """The features that all rows are told by, as the first row has them, and each row's values of these."""
    columns = list(samples.samples[0].features)[:MAX_COLUMNS] if samples.samples else []
    rows = [
        {
            "sample": sample,
            "values": [(name, sample.features.get(name)) for name in columns],
            "error": get_error(sample),
        }
        for sample in samples.samples[:MAX_SHOWN]
    ]
    more = len(samples.samples[0].features) - len(columns) if samples.samples else 0
    return {"columns": columns, "rows": rows, "more_columns": max(0, more)}


def get_error(sample: Any) -> float | None:
    """By how much a prediction that is a number is too high."""
    if isinstance(sample.target, float) and isinstance(sample.prediction, float):
        return sample.prediction - sample.target
    return None


def split_text(text: str, spans: Sequence[Span], expected: Sequence[Span] | None = None) -> list[Piece]:
    """The text in pieces, spans with their labels; of two that overlap the first stands. With `expected` each span is
    compared with those that are right."""
    right = {(span.start, span.end, span.label) for span in expected} if expected is not None else None
    pieces, at = [], 0
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if span.start < at or not span.start < span.end <= len(text):
            continue
        if span.start > at:
            pieces.append(Piece(text[at : span.start]))
        state = "" if right is None else "succeeded" if (span.start, span.end, span.label) in right else "failed"
        pieces.append(Piece(text[span.start : span.end], span.label, state))
        at = span.end
    return [*pieces, Piece(text[at:])] if at < len(text) else pieces
