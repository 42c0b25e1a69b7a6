"""Aliases that are what they look like: a profile of UTS #39, and its skeletons against the protected ones.

The skeleton is what keeps a name from passing for a protected one; the profile may therefore let through what people
write: Greek letters beside others, words and emoji with joiners inside.

Unicode's tables come with `confusable-homoglyphs`. They are read at the first alias, not when the process starts.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from apps.core.errors import Invalid
from apps.ml.registry.states import PROTECTED
from deepseek.messages import N_

SCRIPTLESS = frozenset({"COMMON", "INHERITED"})
# UTS #39, "highly restrictive": one script, or Latin with those that East Asian texts mix. Beyond it Greek, whose
# letters name parameters in every language.
MIXED_SCRIPTS = (
    frozenset({"LATIN", "GREEK", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "GREEK", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "GREEK", "HAN", "HANGUL"}),
)
# The scripts in which UAX #31 (section 2.3, A2 and B) takes a joiner behind a virama. In others of combining class 9,
# such as Khmer, Myanmar and Thai, it changes nothing that is drawn.
INDIC_SCRIPTS = frozenset(
    {"BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "MALAYALAM", "ORIYA", "SINHALA", "TAMIL", "TELUGU"}
)
FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u180b\u180c\u180d\u180f")  # that nothing draws
ZWNJ, ZWJ = "\u200c", "\u200d"
JOINERS = frozenset({ZWNJ, ZWJ})
VIRAMA = 9  # the combining class of what takes the vowel from a letter before it
MARKS_IN_A_ROW = 4  # more would be drawn over the lines above and below (UTS #39, section 5.4)
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
            target_group = group_of.setdefault(second, {second})
            if target_group is not merged:
                merged |= target_group
                group_of.update(dict.fromkeys(target_group, merged))
    return {
        character: min(group, key=order_of_prototypes) for character, group in group_of.items() if len(character) == 1
    }


def order_of_prototypes(text: str) -> tuple[int, bool, str]:
    """A sequence goes before a character (an m looks like "rn"), a plain letter before a digit or a mark."""
    return -len(text), not (text.isascii() and text.isalpha()), text


def compute_skeleton(name: str) -> str:
    """Equal for two names that look alike (UTS #39, section 4), whatever their case."""
    prototypes = load_prototypes()
    visible = "".join(character for character in unicodedata.normalize("NFD", name) if not is_ignorable(character))
    replaced = "".join(prototypes.get(character, character) for character in visible)
    return unicodedata.normalize("NFD", replaced).casefold()


def compute_skeletons(name: str) -> frozenset[str]:
    """Of the name as it is written, without its compatibility forms, and in both cases: a small l looks like the I of
    PRODUCTION, not like its i."""
    normalized = unicodedata.normalize("NFKC", name)
    return frozenset(compute_skeleton(each) for each in (name, normalized, normalized.casefold(), normalized.upper()))


@cache
def compute_protected_skeletons() -> frozenset[str]:
    return frozenset().union(*(compute_skeletons(name) for name in PROTECTED))


def is_like_protected(name: str) -> bool:
    """Whether people would take it for a protected alias: another case, another script, other forms of letters."""
    return not compute_protected_skeletons().isdisjoint(compute_skeletons(name))


def is_ignorable(character: str) -> bool:
    """Whether nothing is drawn for the character by itself (Unicode's Default_Ignorable_Code_Point)."""
    return (
        unicodedata.category(character) == "Cf"
        or character in FILLERS
        or character == "\u034f"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc")


def is_pictograph(character: str) -> bool:
    """Whether it is of the blocks of emoji; Python's tables do not have the property.

    Not the letters in circles and squares that lie among them: they spell words, and no table says which.
    """
    if "\U0001f100" <= character <= "\U0001f1ff":
        return False
    return unicodedata.category(character) == "So" and (
        "\U0001f000" <= character <= "\U0001faff" or "\u2600" <= character <= "\u27bf" or character == "\u2b1b"
    )


def is_skin_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"


def has_alias_characters(name: str) -> bool:
    """Whether a name is of what the reference server takes (letters, digits, _ and -), and of what it leaves out though
    words need it: marks, joiners, emoji. Where each may stand is for check_profile to say."""
    return bool(name) and all(
        character.isalnum()
        or character in "_-"
        or character in JOINERS
        or is_mark(character)
        or is_pictograph(character)
        or is_skin_tone(character)
        for character in name
    )


@cache
def list_arabic_letters(form: str) -> frozenset[str]:
    """The letters of Arabic, Persian and Urdu that have this form: those with "initial" join the letter after them,
    those with "final" the one before."""
    rows = (unicodedata.decomposition(chr(code)).split() for code in range(0xFB50, 0xFEFD))
    return frozenset(chr(int(row[1], 16)) for row in rows if len(row) == 2 and row[0] == f"<{form}>")


def is_joiner_drawn(before: str, joiner: str, after: str) -> bool:
    """Whether a joiner changes what is drawn, between all that stands before and after it.

    UAX #31, section 2.3: A1 (it parts letters that would join; of Arabic alone, whose forms Python's tables have), A2
    and B (behind a virama of an Indic script); and the ZWJ sequences of emoji (UTS #51). Anywhere else nobody would see
    it, so that two aliases would look the same.
    """
    last, first = before[-1:], after[:1]
    if last and unicodedata.combining(last) == VIRAMA:
        if not get_scripts(last) or not get_scripts(last) <= INDIC_SCRIPTS:
            return False
        return first.isalpha() if joiner == ZWNJ else not first or not is_mark(first)
    if joiner == ZWNJ:
        return last in list_arabic_letters("initial") and first in list_arabic_letters("final")
    emoji = before[:-1] if last and is_skin_tone(last) else before
    return bool(emoji and first) and is_pictograph(emoji[-1]) and is_pictograph(first)


def is_drawn(name: str, index: int) -> bool:
    """Whether the character at this index is drawn, and stands on what it belongs to."""
    character, before = name[index], name[:index]
    if character in JOINERS:
        return is_joiner_drawn(before, character, name[index + 1 :])
    if is_ignorable(
        character
    ):  # variation selectors too: with one and without it an emoji looks the same on most screens
        return False
    if is_skin_tone(character):
        return bool(before) and is_pictograph(before[-1])
    if is_mark(character):  # one of no script would fit on every letter: an o with a dot below that nobody sees
        script = get_scripts(character)
        on = before.rstrip("".join(JOINERS))[-1:]
        return bool(script and on) and get_scripts(on) == script
    return character.isprintable()


def has_too_many_marks(name: str) -> bool:
    return any(all(map(is_mark, name[at : at + MARKS_IN_A_ROW + 1])) for at in range(len(name) - MARKS_IN_A_ROW))


def check_profile(name: str) -> None:
    """Raise Invalid for a name that is not what it looks like: scripts that do not belong together, letters in
    compatibility forms, characters that nothing draws, joiners where they join nothing."""
    if (
        unicodedata.normalize("NFKC", name) != name
        or not all(is_drawn(name, index) for index in range(len(name)))
        or has_too_many_marks(name)
    ):
        raise Invalid(
            "Invalid alias name: {name!r} has characters that are drawn as others are, or not at all.",
            name=name[:60],
            code="bad_name",
            field="alias",
            limit="normalised (NFKC), visible characters",
            hint=N_("Type it anew with plain letters, for instance champion."),
        )
    scripts = get_scripts(name)
    if len(scripts) > 1 and not any(scripts <= allowed for allowed in MIXED_SCRIPTS):
        raise Invalid(
            "Invalid alias name: {name!r} mixes scripts ({title}).",
            name=name[:60],
            title=", ".join(sorted(scripts)).title(),
            code="bad_name",
            field="alias",
            limit="letters of one script; Latin and Greek beside Chinese, Japanese or Korean",
            hint=N_("Type it anew in one script, for instance champion."),
        )


def get_scripts(name: str) -> frozenset[str]:
    from confusable_homoglyphs.categories import alias

    return frozenset(alias(character) for character in name) - SCRIPTLESS
