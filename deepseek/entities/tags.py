"""Spans to BIO tags and back: tag 0 is O, then B and I of each label in turn."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.entities.tokens import Token

Floats = npt.NDArray[np.float32]
OUTSIDE = 0


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """An entity: characters from `start` up to `end`."""

    start: int
    end: int
    label: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON lines have it."""
        return asdict(self)


def count_tags(labels: Sequence[str]) -> int:
    """O, and two tags of each label."""
    return 1 + 2 * len(labels)


def build_tags(tokens: Sequence[Token], spans: Sequence[Span], labels: Sequence[str]) -> list[int]:
    """The tag of each token, for spans whose borders are those of tokens and that do not overlap."""
    tags = [OUTSIDE] * len(tokens)
    for span in spans:
        begin = 1 + 2 * labels.index(span.label)
        for place, token in enumerate(tokens):
            if span.start <= token.start < span.end:
                tags[place] = begin if token.start == span.start else begin + 1
    return tags


def list_spans(tokens: Sequence[Token], tags: Sequence[int], labels: Sequence[str]) -> list[Span]:
    """The spans that the tags mark."""
    spans: list[Span] = []
    for token, tag in zip(tokens, tags, strict=True):
        if tag == OUTSIDE:
            continue
        if tag % 2:
            spans.append(Span(token.start, token.end, labels[(tag - 1) // 2]))
        else:  # decoding never leaves an I without the B before it
            spans[-1] = Span(spans[-1].start, token.end, spans[-1].label)
    return spans


def compute_continuation(tags: Iterable[Sequence[int]], labels: Sequence[str]) -> list[float]:
    """For each label how often a token of it that follows one of it goes on with the same span, and begins no other.

    One of each is counted in advance, so that neither is impossible.
    """
    counts = np.ones((len(labels), 2))
    for of in tags:
        for before, tag in pairwise(of):
            if tag != OUTSIDE and get_label(tag) == get_label(before):
                counts[get_label(tag), 1 - tag % 2] += 1
    shares: list[float] = (counts[:, 1] / counts.sum(axis=1)).tolist()
    return shares


def get_label(tag: int) -> int:
    """The place of a tag's label, -1 of O."""
    return (tag + 1) // 2 - 1


def decode_tags(shares: Floats, lengths: Sequence[int], continuation: Sequence[float]) -> list[list[int]]:
    """The likeliest sequence of tags in which every I follows a B or an I of its label (Viterbi, 1967).

    `shares`: logarithms (texts, tokens, tags), of which each text has as many as `lengths` says. What B and I of a
    label have together is divided anew by what came before: all of it is B's after another label, and after the same
    one it is divided as the shares and `continuation` say, so that two words of a name do not become two names.
    """
    texts, longest, count = shares.shape
    counts, back = np.asarray(lengths), np.tile(np.arange(count), (longest, texts, 1))
    score: npt.NDArray[np.float64] = np.full((texts, count), -np.inf)
    score[:, OUTSIDE] = 0  # before the first token
    for place in range(longest):
        paths = score[:, :, None] + _build_moves(shares[:, place].astype(np.float64), continuation)
        inside = (place < counts)[:, None]
        back[place] = np.where(inside, paths.argmax(axis=1), back[place])
        score = np.where(inside, paths.max(axis=1), score)
    best, tags = score.argmax(axis=1), np.zeros((texts, longest), np.int64)
    for place in range(longest - 1, -1, -1):
        tags[:, place] = best
        best = back[place][np.arange(texts), best]
    return [row[:length].tolist() for row, length in zip(tags, counts, strict=True)]


def _build_moves(shares: npt.NDArray[np.float64], continuation: Sequence[float]) -> npt.NDArray[np.float64]:
    """Logarithms (texts, tags before, tags) of each move to the token with these shares, -inf where there is none."""
    texts, count = shares.shape
    moves = np.full((texts, count, count), -np.inf)
    moves[:, :, OUTSIDE] = shares[:, None, OUTSIDE]
    for label, share in enumerate(continuation):
        begin, inside = 1 + 2 * label, 2 + 2 * label
        both = np.logaddexp(shares[:, begin], shares[:, inside])
        moves[:, :, begin] = both[:, None]
        first, further = shares[:, begin] + np.log(1 - share), shares[:, inside] + np.log(share)
        divided = both - np.logaddexp(first, further)
        for before in (begin, inside):
            moves[:, before, begin], moves[:, before, inside] = first + divided, further + divided
    return moves
