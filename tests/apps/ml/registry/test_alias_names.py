"""Skeletons and scripts of aliases (UTS #39)."""

from __future__ import annotations

import pytest
from confusable_homoglyphs.confusables import confusables_data

from apps.core.errors import Invalid
from apps.ml.registry.alias_names import check_profile, compute_skeleton, is_like_protected
from apps.ml.registry.services.validation import check_client_alias


def test_every_look_alike_of_every_letter():
    """The whole table: each character that Unicode pairs with a letter of `production`, in that letter's place."""
    missed, tried = [], 0
    for place, letter in enumerate("production"):
        for form in (letter, letter.upper()):
            for other in confusables_data.get(form, []):
                name = "production"[:place] + other["c"] + "production"[place + 1 :]
                tried += 1
                missed += [] if is_like_protected(name.replace("\u200e", "")) else [ascii(name)]
    assert missed == []
    assert tried > 400


def test_other_words_are_no_look_alikes():
    words = ["staging", "champion", "products", "production-2", "reproduction", "introduction", "\u751f\u4ea7", "prod"]
    assert [word for word in words if is_like_protected(word)] == []


def test_skeletons_of_the_standard():
    """Pairs that UTS #39 names: paypal with Cyrillic a, and an m that is r and n."""
    assert compute_skeleton("p\u0430ypal") == compute_skeleton("paypal")
    assert compute_skeleton("rn") == compute_skeleton("m")
    assert compute_skeleton("staging") != compute_skeleton("stabling")


@pytest.mark.parametrize(
    "name", ["champion", "\u751f\u4ea7-v2", "\u0442\u0435\u0441\u0442", "caf\u00e9", "\u30c6\u30b9\u30c8A", "a_b-3"]
)
def test_names_of_one_script(name):
    check_profile(name)


@pytest.mark.parametrize(
    "name",
    [
        "\u03b2-test",
        "\u6a21\u578b-\u03b1",
        "\u03bb\u6bd4a",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a ZWNJ parts two letters
        "\u0939\u093f\u0928\u094d\u0926\u0940",  # Hindi
        "\u0915\u094d\u200d\u0937",  # a ZWJ behind a virama
        "\u0915\u094d\u200c\u0937",
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala
        "\U0001f469\u200d\U0001f52c",  # a scientist
        "\U0001f469\U0001f3fd\u200d\U0001f52c-2",
        "\U0001f3f3\u200d\U0001f308",
        "\u2764\u200d\U0001f525",
    ],
)
def test_names_that_people_write(name):
    check_client_alias(name)
    assert not is_like_protected(name)


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d", "\u200b", "\u2060", "\u034f", "\ufe0f", "\u00ad", "\U000e0101"])
def test_no_invisible_character_hides_a_protected_name(joiner):
    for name in (f"produc{joiner}tion", f"{joiner}production", f"production{joiner}", f"\u03c1r\u03bf{joiner}duction"):
        assert is_like_protected(name), ascii(name)
        with pytest.raises(Invalid):
            check_client_alias(name)


@pytest.mark.parametrize(
    ("shown", "hidden"),
    [
        ("\u1780", "\u17b4"),  # vowels of Khmer that nothing draws
        ("\u1780", "\u17b5"),
        ("\u1820", "\u180b"),  # variation selectors of Mongolian
        ("\u1820", "\u180f"),
        ("\U0001f525", "\ufe0f"),
        ("\U0001f525", "\ufe0e"),
        ("\u2764", "\ufe0f"),
        ("\U0001f3f3", "\ufe0f"),
        ("\u6a21", "\ufe00"),
        ("\u6a21", "\U000e0100"),
    ],
)
def test_no_invisible_character_makes_a_second_alias(shown, hidden):
    """Each of the pair is drawn like the other, so that one alone may be an alias."""
    check_client_alias(shown)
    assert compute_skeleton(shown + hidden) == compute_skeleton(shown)
    for name in (shown + hidden, f"a{shown}{hidden}", f"{shown}{hidden}\u200d\U0001f525", shown + hidden + shown):
        with pytest.raises(Invalid):
            check_client_alias(name)


@pytest.mark.parametrize("name", ["\u03c1roduction", "pr\u03bfduction", "\u03a1RODUCTION", "product\u03b9on"])
def test_greek_letters_make_no_protected_name(name):
    assert is_like_protected(name)


@pytest.mark.parametrize(
    "name",
    [
        "te\u200cst",
        "\u062f\u200c\u0628",  # Arabic: a dal joins nothing after it
        "\u0939\u200d\u0928",
        "\U0001f469\u200d",
        "\u200d\U0001f469",
        "test\ufe0f",
        "\u1000\u1039\u200c\u1000",  # Myanmar: a joiner behind its virama changes nothing
        "\u1780\u17d2\u200d\u1781",  # Khmer
        "\u0e01\u0e3a\u200c\u0e01",  # Thai
        "o\u0323\u0301x",
        "\u0940",
        "a\u0940",
        "\u0e01" + "\u0e48" * 5,
        "te\u2060st",
        "\u03b2\u0435",
    ],
)
def test_marks_and_joiners_that_are_misplaced(name):
    with pytest.raises(Invalid):
        check_client_alias(name)


@pytest.mark.parametrize("first", [0x1F130, 0x1F150, 0x1F170, 0x1F1E6])
@pytest.mark.parametrize("many", [1, 10])
def test_letters_in_circles_and_squares_spell_no_protected_name(first, many):
    """Characters of the kind of emoji, which no table of confusables knows."""
    spelt = "".join(chr(first + ord(letter) - ord("a")) for letter in "production"[:many])
    name = spelt + "production"[many:]
    with pytest.raises(Invalid):
        check_client_alias(name)


@pytest.mark.parametrize("name", ["t\u0435st", "\uff54est", "\u1160", "te\u200dst", "\u03c4\u0435", "\ufb01t"])
def test_names_that_are_not_what_they_look_like(name):
    with pytest.raises(Invalid) as caught:
        check_profile(name)
    assert caught.value.field == "alias"
