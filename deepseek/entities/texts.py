"""Texts with their spans, out of a file: JSON lines, an export of Label Studio, or tokens with BIO tags."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from deepseek.entities.conll import iterate_conll
from deepseek.entities.faults import TextFault, build_file_error, build_text_fault
from deepseek.entities.label_studio import iterate_tasks
from deepseek.entities.spec import TEXTS, EntitiesSpec
from deepseek.entities.tags import Span
from deepseek.entities.tokens import Token, tokenize

MAX_LINE = 16 * 2**20  # bytes: a line that is longer is no text of a person


@dataclass(frozen=True)
class MarkedText:
    """A text, its tokens, and its spans in order, none of which overlap; `line` is where it begins in the file."""

    line: int
    text: str
    tokens: list[Token]
    spans: list[Span]


@dataclass
class Counts:
    """What reading a file had to decide by the rules of the spec."""

    invalid: int = 0  # texts left out
    other_label: int = 0  # spans ignored, or texts left out
    border: int = 0  # spans extended to whole words, or texts left out
    too_long: int = 0  # texts cut into windows, or left out
    empty: int = 0  # texts without a token

    def as_dict(self) -> dict[str, int]:
        """Each count by its name, as the summary has them."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Marked:
    """The texts of a file, and what was decided about others."""

    texts: list[MarkedText]
    counts: Counts = field(default_factory=Counts)


def read_texts(path: Path, spec: EntitiesSpec, slot: str = TEXTS) -> Marked:
    """The texts of the file at `path`, checked by the rules of `spec`; `slot` is for errors.

    Raises EngineError ``texts_unreadable`` for a file that is none of the formats, and by the rules
    ``text_unreadable``, ``span_outside``, ``spans_overlap``, ``label_not_allowed`` or ``span_border``, naming the line.
    """
    marked = Marked([])
    for line, record in _iterate_records(path, spec.format, slot):
        try:
            if isinstance(record, TextFault):
                raise record
            text = _check_text(line, record, spec, marked.counts)
        except TextFault as fault:
            if not _is_skipped(fault, spec):
                raise fault.build_error(slot) from None
            _count_skipped(fault, marked.counts)
        else:
            if text is not None:
                marked.texts.append(text)
    return marked


Record = dict[str, Any] | TextFault
"""A text and its spans as JSON lines have them, or what is wrong with the line."""


def _iterate_records(path: Path, form: str, slot: str) -> Iterator[tuple[int, Record]]:
    """(line, record) of each text in the file."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise build_file_error(path, f"it is not UTF-8 at byte {error.start}", slot) from error
    except OSError as error:
        raise build_file_error(path, error.strerror or str(error), slot) from error
    form = detect_format(content) if form == "auto" else form
    if form == "label_studio":
        try:
            tasks = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise build_file_error(path, f"it is not JSON: {error}", slot) from error
        if not isinstance(tasks, list):
            raise build_file_error(path, "it is no JSON list of tasks", slot)
        yield from iterate_tasks(tasks)
    elif form == "conll":
        yield from iterate_conll(content)
    else:
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                yield number, _parse_line(number, line)


def detect_format(content: str) -> str:
    """``label_studio`` for a JSON list of objects, ``jsonl`` for lines of objects, else ``conll``."""
    head = content[:1000].lstrip()
    if head.startswith("[") and head[1:].lstrip()[:1] in ("{", "]"):
        return "label_studio"
    return "jsonl" if head.startswith("{") and head[1:].lstrip()[:1] in ('"', "}") else "conll"


def _parse_line(number: int, line: str) -> Record:
    try:
        if len(line) > MAX_LINE:
            return build_text_fault("text_unreadable", number, f"{len(line):,} characters", f"at most {MAX_LINE:,}")
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return build_text_fault("text_unreadable", number, str(error)[:200], '{"text": ..., "spans": [...]}')
    if not isinstance(record, dict):
        return build_text_fault("text_unreadable", number, type(record).__name__, '{"text": ..., "spans": [...]}')
    return record


def _is_skipped(fault: TextFault, spec: EntitiesSpec) -> bool:
    rules = {"label_not_allowed": spec.other_labels, "span_border": spec.borders}
    return rules.get(fault.code, spec.invalid) == "skip"


def _count_skipped(fault: TextFault, counts: Counts) -> None:
    name = {"label_not_allowed": "other_label", "span_border": "border"}.get(fault.code, "invalid")
    setattr(counts, name, getattr(counts, name) + 1)


def _check_text(line: int, record: dict[str, Any], spec: EntitiesSpec, counts: Counts) -> MarkedText | None:
    """The record as a text whose spans fit; None where it holds no token. Raises TextFault."""
    text, entries = record.get("text"), record.get("spans", [])
    if not isinstance(text, str) or not isinstance(entries, list):
        what = "text" if not isinstance(text, str) else "spans"
        raise build_text_fault("text_unreadable", line, f"no {what}", '{"text": ..., "spans": [...]}')
    ignored, spans = 0, []
    for entry in entries:
        span = _read_span(line, entry, text)
        if span.label in spec.labels:
            spans.append(span)
        elif spec.other_labels == "ignore":
            ignored += 1
        else:
            raise build_text_fault("label_not_allowed", line, span.label, ", ".join(spec.labels))
    tokens = tokenize(text)
    if not tokens:
        counts.empty += 1
        return None
    _require_apart(line, sorted(spans))
    fitted = [_fit_span(line, span, tokens, spec) for span in sorted(spans)]
    extended = sum(before != after for before, after in zip(sorted(spans), fitted, strict=True))
    _require_apart(line, fitted)
    counts.border, counts.other_label = counts.border + extended, counts.other_label + ignored
    return MarkedText(line, text, tokens, fitted)


def _read_span(line: int, entry: Any, text: str) -> Span:
    fields = entry if isinstance(entry, dict) else {}
    start, end, label = fields.get("start"), fields.get("end"), fields.get("label")
    if type(start) is not int or type(end) is not int or not isinstance(label, str):
        raise build_text_fault("text_unreadable", line, f"span {json.dumps(entry)[:100]}", '{"start", "end", "label"}')
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise build_text_fault("span_outside", line, f"{start} to {end}", f"0 to {len(text)}, and not blank")
    words = fields.get("text")
    if isinstance(words, str) and words != text[start:end]:
        raise build_text_fault("span_outside", line, repr(text[start:end])[:100], repr(words)[:100])
    return Span(start, end, label)


def _require_apart(line: int, spans: Sequence[Span]) -> None:
    for before, after in pairwise(spans):
        if after.start < before.end:
            value = f"{before.start} to {before.end} and {after.start} to {after.end}"
            raise build_text_fault("spans_overlap", line, value, "spans apart from each other")


def _fit_span(line: int, span: Span, tokens: Sequence[Token], spec: EntitiesSpec) -> Span:
    """The span with the borders of the tokens that it touches; blanks at its ends do not count as a change of them."""
    touched = [token for token in tokens if token.start < span.end and token.end > span.start]
    fitted = Span(touched[0].start, touched[-1].end, span.label)
    if (fitted.start < span.start or fitted.end > span.end) and spec.borders != "expand":
        raise build_text_fault("span_border", line, f"{span.start} to {span.end}", f"{fitted.start} to {fitted.end}")
    return fitted
