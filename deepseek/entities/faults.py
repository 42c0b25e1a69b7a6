"""What can be wrong with one text of a file: by the rules of the spec it ends the job, or is left out and counted."""

from pathlib import Path

from deepseek.job import EngineError
from deepseek.messages import N_

_MESSAGES = {
    "text_unreadable": (
        N_("Line {line} is no text with its spans: {found}."),
        N_("Mend the line, or let invalid texts be left out."),
    ),
    "span_outside": (
        N_("A span of the text at line {line} does not fit it: {found}."),
        N_("Offsets count characters from 0, and the end is not part of the span. Mend it, or leave such texts out."),
    ),
    "spans_overlap": (
        N_("Two spans of the text at line {line} overlap: {found}."),
        N_("A character belongs to one entity at most: keep one of them, or leave such texts out."),
    ),
    "label_not_allowed": (
        N_("A span of the text at line {line} has the label {found}, which is none of the spec's labels."),
        N_("Add it to the labels, or let other labels be ignored."),
    ),
    "span_border": (
        N_("A span of the text at line {line} begins or ends inside a word: {found}."),
        N_("Mark whole words, or let such spans be extended."),
    ),
    "text_too_long": (
        N_("The text at line {line} is longer than the model takes: {found}."),
        N_("Raise the longest text, or let long texts be cut or left out."),
    ),
}


class TextFault(Exception):
    """What is wrong with the text that begins at `line` of the file."""

    def __init__(self, code: str, line: int, value: str, limit: str) -> None:
        super().__init__(code)
        self.code, self.line, self.value, self.limit = code, line, value, limit

    def build_error(self, slot: str) -> EngineError:
        """The same as what ends a job."""
        message, hint = _MESSAGES[self.code]
        return EngineError(
            self.code,
            message,
            line=self.line,
            found=self.value,
            value=self.value,
            field=f"inputs/{slot}",
            limit=self.limit,
            hint=hint,
        )


def build_text_fault(code: str, line: int, value: str, limit: str) -> TextFault:
    """The fault of this code, which is one of an EngineError."""
    return TextFault(code, line, value, limit)


def build_file_error(path: Path, why: str, slot: str) -> EngineError:
    """The error for a file of which nothing can be read."""
    return EngineError(
        "texts_unreadable",
        "{path_name} holds no texts: {why}.",
        path_name=path.name,
        why=why,
        field=f"inputs/{slot}",
        value=path.name,
        limit="JSON lines, an export of Label Studio (JSON), or CoNLL, in UTF-8",
        hint=N_('Give a file with one {"text": ..., "spans": [...]} on each line.'),
    )
