"""Texts to tokens, and what the network sees of them."""

import numpy as np

from deepseek.entities.tokens import COLUMNS, UNKNOWN, build_vocabulary, encode_tokens, get_shape, tokenize


def words(text):
    return [token.text for token in tokenize(text)]


def test_characters_words_and_marks():
    assert words("李明left Acme-2, 100%_a") == ["李", "明", "left", "Acme", "-", "2", ",", "100", "%", "_", "a"]
    assert words(" \n\t") == []
    assert words("𠀀b") == ["𠀀", "b"]  # outside the basic plane: one character of Python


def test_places_are_characters_of_the_text():
    text = "A 😀 李明."
    assert all(text[token.start : token.end] == token.text for token in tokenize(text))


def test_shapes():
    shapes = {word: get_shape(word) for word in ("李", "ada", "Ada", "ADA", "aDa", "42", "B2", "%")}
    assert list(shapes.values()) == ["cjk", "lower", "title", "upper", "mixed", "digits", "alphanumeric", "mark"]


def test_a_vocabulary_has_what_occurs_twice_most_frequent_first():
    assert build_vocabulary([tokenize("b B a A b c 12 99")], 10) == ["b", "00", "a"]
    assert build_vocabulary([tokenize("b B a A b")], 1) == ["b"]


def test_what_is_seen_is_the_same_everywhere_and_depends_on_neighbors():
    ids = {"ada": 2}
    rows = encode_tokens(tokenize("Ada saw Ada"), ids, 1000)
    assert rows.shape == (3, COLUMNS)
    assert rows[:, 0].tolist() == [2, UNKNOWN, 2]
    assert (rows[0] != rows[2]).any()  # other neighbors
    assert np.array_equal(rows[0, 4:], rows[2, 4:])
    assert encode_tokens([], ids, 1000).shape == (0, COLUMNS)
