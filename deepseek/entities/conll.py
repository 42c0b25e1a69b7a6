"""Two columns of token and BIO tag as texts with spans; a blank line ends a text."""

from collections.abc import Iterator
from typing import Any

from deepseek.entities.faults import TextFault, build_text_fault
from deepseek.entities.tokens import is_cjk

Record = dict[str, Any] | TextFault


def iterate_conll(content: str) -> Iterator[tuple[int, Record]]:
    """(first line, record) of each text: the first column is the token, the last the tag."""
    lines: list[tuple[int, str, str]] = []
    fault: TextFault | None = None
    for number, line in enumerate([*content.split("\n"), ""], 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            if fault is not None or lines:
                yield (fault.line, fault) if fault is not None else (lines[0][0], _join_tokens(lines))
            lines, fault = [], None
        elif fault is None and (len(columns) < 2 or not _is_tag(columns[-1])):
            fault = build_text_fault("text_unreadable", number, line.strip()[:100], "a token and O, B-LABEL or I-LABEL")
        else:
            lines.append((number, columns[0], columns[-1]))


def _is_tag(tag: str) -> bool:
    return tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2)


def _join_tokens(lines: list[tuple[int, str, str]]) -> dict[str, Any]:
    """The text, with a blank between two tokens unless both are CJK, and its spans; an I that follows none begins."""
    text, spans, before = "", list[dict[str, Any]](), "O"
    for _, token, tag in lines:
        if text and not (is_cjk(text[-1]) and is_cjk(token[0])):
            text += " "
        start = len(text)
        text += token
        if tag.startswith("I-") and before[2:] == tag[2:]:
            spans[-1]["end"] = len(text)
        elif tag != "O":
            spans.append({"start": start, "end": len(text), "label": tag[2:]})
        before = tag
    return {"text": text, "spans": spans}
