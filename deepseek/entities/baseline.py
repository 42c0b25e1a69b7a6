"""What a model of entities must beat: a dictionary of the spans that were marked in the training texts."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from deepseek.entities.tags import Span
from deepseek.entities.texts import MarkedText
from deepseek.entities.tokens import Token

NAME = "dictionary of training spans"
Words = tuple[str, ...]


def build_dictionary(texts: Iterable[MarkedText]) -> dict[Words, str]:
    """The words of each span that was marked -> the label that it had most often."""
    labels: dict[Words, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for span in text.spans:
            words = tuple(token.text for token in text.tokens if span.start <= token.start < span.end)
            labels[words][span.label] += 1
    return {words: min(counts, key=lambda label: (-counts[label], label)) for words, counts in labels.items()}


def find_known_spans(tokens: Sequence[Token], dictionary: dict[Words, str], longest: int) -> list[Span]:
    """From left to right the longest run of tokens that stands in the dictionary, exactly as it was written."""
    spans: list[Span] = []
    start = 0
    while start < len(tokens):
        for end in range(min(len(tokens), start + longest), start, -1):
            label = dictionary.get(tuple(token.text for token in tokens[start:end]))
            if label is not None:
                spans.append(Span(tokens[start].start, tokens[end - 1].end, label))
                start = end
                break
        else:
            start += 1
    return spans
