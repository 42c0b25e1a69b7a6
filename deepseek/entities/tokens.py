"""Texts to tokens: each CJK character, each run of other letters and digits, and each other mark is one.

A token keeps its place in the text, in characters (code points). What the network sees of it: its word in the
vocabulary, its shape, and hashes of its affixes and of its neighbors, so that a word never seen is no blank.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

PADDING, UNKNOWN = 0, 1
RESERVED = 2  # ids before those of the vocabulary
FEWEST_OCCURRENCES = 2
"""A word seen once would have a vector that one step of an epoch moves: it is better taken for unknown."""

_CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003347f"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+|[^\w\s]|_")
_IS_CJK = re.compile(f"[{_CJK}]")
SHAPES = ("padding", "cjk", "lower", "title", "upper", "mixed", "digits", "alphanumeric", "mark", "other")
_SHAPE_IDS = {name: place for place, name in enumerate(SHAPES)}
_BORDER = "\n"  # no token is one: what stands before the first and after the last
HASHES = 8
COLUMNS = 2 + HASHES
"""Of a token: the id of its word, that of its shape, and the buckets of its hashes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a text, from `start` up to `end`."""

    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The tokens of `text`, in their order; blanks belong to none."""
    return [Token(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def normalize_word(word: str) -> str:
    """What the vocabulary knows a token as: compatibility forms folded, lower case, every digit a nought."""
    folded = unicodedata.normalize("NFKC", word).lower()
    return "".join("0" if letter.isdigit() else letter for letter in folded)


def is_cjk(word: str) -> bool:
    """Whether a token is one character that counts by itself."""
    return _IS_CJK.match(word) is not None


def get_shape(word: str) -> str:
    """One of `SHAPES`: how a token is written."""
    if is_cjk(word):
        return "cjk"
    if word.isdigit():
        return "digits"
    if word.isalpha():
        if word.islower():
            return "lower"
        if word.isupper():
            return "upper" if len(word) > 1 else "title"
        if word.istitle():
            return "title"
        return "mixed" if word.lower() != word.upper() else "other"
    return "alphanumeric" if word.isalnum() else "mark"


def build_vocabulary(texts: Iterable[Sequence[Token]], size: int) -> list[str]:
    """The words that occur at least twice, the most frequent first, at most `size` of them."""
    counts = Counter(normalize_word(token.text) for tokens in texts for token in tokens)
    frequent = [word for word, count in counts.items() if count >= FEWEST_OCCURRENCES]
    return sorted(frequent, key=lambda word: (-counts[word], word))[:size]


def index_vocabulary(vocabulary: Sequence[str]) -> dict[str, int]:
    """Word -> id."""
    return {word: place + RESERVED for place, word in enumerate(vocabulary)}


def encode_tokens(tokens: Sequence[Token], ids: Mapping[str, int], buckets: int) -> Ids:
    """What the network sees of the tokens, (n, COLUMNS)."""
    words = [normalize_word(token.text) for token in tokens]
    rows = np.zeros((len(tokens), COLUMNS), np.int64)
    for place, (token, word) in enumerate(zip(tokens, words, strict=True)):
        before = words[place - 1] if place else _BORDER
        after = words[place + 1] if place + 1 < len(words) else _BORDER
        rows[place, 0] = ids.get(word, UNKNOWN)
        rows[place, 1] = _SHAPE_IDS[get_shape(token.text)]
        rows[place, 2:] = [
            _hash_part(kind, part, buckets) for kind, part in enumerate(_list_parts(token.text, word, before, after))
        ]
    return rows


def pad_tokens(windows: Sequence[Ids]) -> Ids:
    """The windows as one array, (windows, tokens of the longest, COLUMNS); padding is 0."""
    longest = max((len(window) for window in windows), default=1)
    padded = np.zeros((max(1, len(windows)), longest, COLUMNS), np.int64)
    for place, window in enumerate(windows):
        padded[place, : len(window)] = window
    return padded


def _list_parts(text: str, word: str, before: str, after: str) -> list[str]:
    """What is hashed of a token; an empty part has no vector."""
    pairs = [f"{before} {word}", f"{word} {after}"]
    if is_cjk(text):
        return [*pairs, f"{before} {word} {after}", "", "", "", "", ""]
    return [*pairs, word, _fold_letters(text), word[:2], word[:4], word[-2:], word[-4:]]


def _fold_letters(text: str) -> str:
    """How a word is written, letter by letter with runs of more than two shortened: ``McDonald`` is ``XxXxx``."""
    kinds = ["X" if c.isupper() else "x" if c.islower() else "0" if c.isdigit() else c for c in text[:40]]
    return "".join(kind for place, kind in enumerate(kinds) if place < 2 or kinds[place - 2 : place] != [kind, kind])


def _hash_part(kind: int, part: str, buckets: int) -> int:
    """The bucket of a part, from 1 on; the same on every machine. 0 is that of none."""
    return zlib.crc32(f"{kind} {part}".encode()) % (buckets - 1) + 1 if part else 0
