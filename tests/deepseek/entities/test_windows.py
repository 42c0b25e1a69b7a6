"""Long texts in pieces."""

import pytest

from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.tags import Span
from deepseek.entities.texts import Counts, MarkedText
from deepseek.entities.tokens import tokenize
from deepseek.entities.windows import split_texts, split_tokens
from deepseek.job import EngineError


def test_cuts_come_after_sentences_and_not_inside_a_span():
    assert split_tokens(tokenize("a b c d . e f g h i j"), 8) == [(0, 5), (5, 11)]
    assert split_tokens(tokenize("a b c d e f g h i j"), 8) == [(0, 8), (8, 10)]
    assert split_tokens(tokenize("a b c d e f g h i j"), 8, [Span(12, 17, "ORG")]) == [(0, 6), (6, 10)]
    assert split_tokens(tokenize("a"), 8) == [(0, 1)]


def test_the_rule_decides_about_long_texts():
    text = "a b c d e f g h i j"
    long = MarkedText(3, text, tokenize(text), [])
    for rule, windows in (("split", [[(0, 8), (8, 10)]]), ("skip", [])):
        counts = Counts()
        assert split_texts([long], EntitiesSpec(max_length=8, too_long=rule), counts, "texts")[1] == windows
        assert counts.too_long == 1
    with pytest.raises(EngineError) as error:
        split_texts([long], EntitiesSpec(max_length=8, too_long="fail"), Counts(), "texts")
    assert (error.value.code, error.value.message.params["line"]) == ("text_too_long", 3)
    whole = MarkedText(4, text, long.tokens, [Span(0, len(text), "ORG")])
    with pytest.raises(EngineError) as error:
        split_texts([whole], EntitiesSpec(max_length=8), Counts(), "texts")
    assert error.value.code == "text_too_long"
