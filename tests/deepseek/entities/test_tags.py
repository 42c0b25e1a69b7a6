"""Spans to tags and back, and the best sequence of tags."""

import numpy as np

from deepseek.entities.tags import Span, build_tags, compute_continuation, decode_tags, list_spans
from deepseek.entities.tokens import tokenize

LABELS = ["PERSON", "ORG"]


def logs(*rows):
    return np.log(np.array([rows], np.float32) + 1e-9)


def test_spans_survive_the_way_to_tags_and_back():
    text = "Ada Lovelace met Acme 李明"
    tokens = tokenize(text)
    spans = [Span(0, 12, "PERSON"), Span(17, 21, "ORG"), Span(22, 24, "PERSON")]
    tags = build_tags(tokens, spans, LABELS)
    assert tags == [1, 2, 0, 3, 1, 2]
    assert list_spans(tokens, tags, LABELS) == spans


def test_no_inside_without_a_beginning():
    alone = logs([0.1, 0.1, 0.8, 0, 0], [0.1, 0, 0, 0.1, 0.8])
    assert decode_tags(alone, [2], [0.9, 0.9]) == [[1, 3]]


def test_a_second_word_goes_on_where_spans_use_to():
    unsure = logs([0, 1, 0, 0, 0], [0.1, 0.5, 0.4, 0, 0])
    assert decode_tags(unsure, [2], [0.9, 0.9]) == [[1, 2]]
    assert decode_tags(unsure, [2], [0.1, 0.9]) == [[1, 1]]


def test_padding_changes_nothing():
    draw = np.random.default_rng(0)
    shares = np.log(draw.dirichlet(np.ones(5), size=(4, 7))).astype(np.float32)
    lengths = [7, 3, 1, 5]
    together = decode_tags(shares, lengths, [0.7, 0.4])
    alone = [decode_tags(shares[i : i + 1, :n], [n], [0.7, 0.4])[0] for i, n in enumerate(lengths)]
    assert together == alone


def test_continuation_counts_tokens_after_tokens_of_the_same_label():
    assert compute_continuation([[1, 2, 2, 0, 1], [3, 3], [1, 3]], LABELS) == [0.75, 1 / 3]
