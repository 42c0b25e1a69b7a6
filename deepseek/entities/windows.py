"""Long texts as pieces that the model takes: cut after sentences where it can be, and never inside an entity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepseek.entities.faults import build_text_fault
from deepseek.entities.tags import Span
from deepseek.entities.tokens import Token

if TYPE_CHECKING:  # what a training knows: predictions are made without it
    from deepseek.entities.spec import EntitiesSpec
    from deepseek.entities.texts import Counts, MarkedText

Window = tuple[int, int]
"""Tokens of one text, from the first up to the second."""
_ENDS = frozenset("。！？!?；;.…")


def split_tokens(tokens: Sequence[Token], longest: int, spans: Sequence[Span] = ()) -> list[Window]:
    """Windows of at most `longest` tokens that together are the text.

    Raises ValueError where one of the spans has more tokens than that.
    """
    windows: list[Window] = []
    start = 0
    while len(tokens) - start > longest:
        cut = _find_cut(tokens, start, longest)
        border = tokens[cut].start
        inside = next((span for span in spans if span.start < border < span.end), None)
        if inside is not None:
            cut = next(place for place, token in enumerate(tokens) if token.start >= inside.start)
        if cut <= start:
            raise ValueError("a span longer than the model")
        windows.append((start, cut))
        start = cut
    return [*windows, (start, len(tokens))]


def _find_cut(tokens: Sequence[Token], start: int, longest: int) -> int:
    """After the last end of a sentence in the second half of the window, else at its end."""
    for cut in range(start + longest, start + longest // 2, -1):
        if tokens[cut - 1].text in _ENDS:
            return cut
    return start + longest


def split_texts(
    texts: "Sequence[MarkedText]", spec: "EntitiesSpec", counts: "Counts", slot: str
) -> "tuple[list[MarkedText], list[list[Window]]]":
    """The texts that the rule ``too_long`` keeps, and the windows of each.

    Raises EngineError ``text_too_long`` naming the line, where the rule says so.
    """
    accepted: list[MarkedText] = []
    windows: list[list[Window]] = []
    for text in texts:
        if len(text.tokens) > spec.max_length:
            fault = build_text_fault(
                "text_too_long", text.line, f"{len(text.tokens)} tokens", f"{spec.max_length} tokens"
            )
            if spec.too_long == "fail":
                raise fault.build_error(slot)
            counts.too_long += 1
            if spec.too_long == "skip":
                continue
        try:
            parts = split_tokens(text.tokens, spec.max_length, text.spans)
        except ValueError:
            raise build_text_fault("text_too_long", text.line, "one entity", f"{spec.max_length} tokens").build_error(
                slot
            ) from None
        accepted.append(text)
        windows.append(parts)
    return accepted, windows
