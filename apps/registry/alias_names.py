"""Aliases that can be told apart by eye: the profile of UTS #39, and its skeletons against the protected ones.

Unicode's tables come with `confusable-homoglyphs`. They are read at the first alias, not when the process starts.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from apps.errors import Invalid
from apps.registry.states import PROTECTED

SCRIPTLESS = frozenset({"COMMON", "INHERITED"})
# UTS #39, "highly restrictive": one script, or Latin with those that East Asian texts mix.
MIXED_SCRIPTS = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
FILLERS = frozenset("\u115f\u1160\u3164\uffa0")  # letters of Hangul that nothing draws
DIRECTION_MARK = "\u200e"  # the table wraps letters that are written from right to left


@cache
def load_prototypes() -> dict[str, str]:
    """{character: what stands for everything that looks like it}, over the pairs of the confusables table."""
    from confusable_homoglyphs.confusables import confusables_data

    group_of: dict[str, set[str]] = {}
    for source, targets in confusables_data.items():
        first = source.strip(DIRECTION_MARK)
        merged = group_of.setdefault(first, {first})
        for target in targets:
            second = target["c"].strip(DIRECTION_MARK)
            other = group_of.setdefault(second, {second})
            if other is not merged:
                merged |= other
                group_of.update(dict.fromkeys(other, merged))
    return {one: min(group, key=order_of_prototypes) for one, group in group_of.items() if len(one) == 1}


def order_of_prototypes(text: str) -> tuple[int, bool, str]:
    """A sequence goes before a character (an m looks like "rn"), a plain letter before a digit or a mark."""
    return -len(text), not (text.isascii() and text.isalpha()), text


def compute_skeleton(name: str) -> str:
    """Equal for two names that look alike (UTS #39, section 4), whatever their case."""
    prototypes = load_prototypes()
    drawn = unicodedata.normalize("NFD", name)
    replaced = "".join(prototypes.get(one, one) for one in drawn)
    return unicodedata.normalize("NFD", replaced).casefold()


def compute_skeletons(name: str) -> frozenset[str]:
    """Of the name as it is written, without its compatibility forms, and in both cases: a small l looks like the I of
    PRODUCTION, not like its i."""
    plain = unicodedata.normalize("NFKC", name)
    return frozenset(compute_skeleton(each) for each in (name, plain, plain.casefold(), plain.upper()))


@cache
def protected_skeletons() -> frozenset[str]:
    return frozenset().union(*(compute_skeletons(name) for name in PROTECTED))


def is_like_protected(name: str) -> bool:
    """Whether people would take it for a protected alias: another case, another script, other forms of letters."""
    return not protected_skeletons().isdisjoint(compute_skeletons(name))


def check_profile(name: str) -> None:
    """Raise Invalid for a name that is not what it looks like: scripts that do not belong together, letters in
    compatibility forms, letters that nothing draws."""
    if unicodedata.normalize("NFKC", name) != name or FILLERS.intersection(name) or not name.isprintable():
        raise Invalid(
            f"Invalid alias name: {name[:60]!r} has characters that are drawn as others are, or not at all.",
            code="bad_name",
            field="alias",
            limit="normalised (NFKC), visible characters",
            hint="Type it anew with plain letters, for instance champion.",
        )
    scripts = scripts_of(name)
    if len(scripts) > 1 and not any(scripts <= allowed for allowed in MIXED_SCRIPTS):
        raise Invalid(
            f"Invalid alias name: {name[:60]!r} mixes scripts ({', '.join(sorted(scripts)).title()}).",
            code="bad_name",
            field="alias",
            limit="letters of one script; Latin beside Chinese, Japanese or Korean",
            hint="Type it anew in one script, for instance champion.",
        )


def scripts_of(name: str) -> frozenset[str]:
    from confusable_homoglyphs.categories import alias

    return frozenset(alias(one) for one in name) - SCRIPTLESS
