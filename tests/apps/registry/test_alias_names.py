"""Skeletons and scripts of aliases (UTS #39)."""

from __future__ import annotations

import pytest
from confusable_homoglyphs.confusables import confusables_data

from apps.errors import Invalid
from apps.registry.alias_names import check_profile, compute_skeleton, is_like_protected


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


@pytest.mark.parametrize("name", ["t\u0435st", "\uff54est", "\u1160", "te\u200dst", "\u03c4\u0435", "\ufb01t"])
def test_names_that_are_not_what_they_look_like(name):
    with pytest.raises(Invalid) as caught:
        check_profile(name)
    assert caught.value.field == "alias"
