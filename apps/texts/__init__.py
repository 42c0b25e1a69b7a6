"""What services and the engine said in English, in the language of who reads the page.

An error keeps its message in English: the audit trail, the record of a job and REST answers must read the same to
everybody. A page shows it through `told`, which knows every message there is by the lists beside this module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from django.utils.translation import get_language, gettext

from apps.texts.engine import ENGINE
from apps.texts.services import SERVICES
from apps.texts.typed import TYPED, WORDS

SENTENCE_END = re.compile(r"(?<=[.?!]) (?=\S)")
GOT = ("", " (got ", ")")  # apps/jobs/specs.py puts the value behind the message
LONGEST = 2000  # characters; what is longer is no message of ours
MAX_SENTENCES = 8  # of one message; each way to part them is tried
DEEPEST = 3  # a message inside a message inside a message
STATES = frozenset(("waiting", "queued", "running", "succeeded", "failed", "cancelled"))
DECIDED = frozenset(("pending", "approved", "rejected", "withdrawn", "expired", "void"))


def told(text: object) -> str:
    """The text in the language of now; as it is if nothing here has said it."""
    said = str(text)
    if (get_language() or "en").startswith("en") or not said or len(said) > LONGEST:
        return said
    return found(said, 0) or said


def found(text: str, depth: int) -> str:
    """Its translation, "" if there is none. Two messages behind each other are tried before one long one.

    From the last sentence to the first, each rest of the text once.
    """
    ends = [(end.start(), end.end()) for end in SENTENCE_END.finditer(text)]
    if len(ends) >= MAX_SENTENCES:
        return whole(text, depth)
    translated: dict[int, str] = {}
    for place in range(len(ends), -1, -1):
        start = ends[place - 1][1] if place else 0
        parted = (
            first + translated[rest]
            for end, rest in ends[place:]
            if translated[rest] and (first := whole(text[start:end], depth))
        )
        translated[start] = next(parted, "") or whole(text[start:], depth)
    return translated[0]


def whole(text: str, depth: int) -> str:
    """The translation of one message, its values put in again."""
    if text in WORDS:
        return gettext(text)
    if got := match_parts(GOT, text):
        return gettext("{0} (got {1})").format(inner(got[0], depth), got[1])
    for parts, template in patterns():
        values = match_parts(parts, text)
        if values is not None:
            words = gettext(template)
            return words.format(*(inner(value, depth) for value in values)) if words != template else ""
    return ""


def inner(value: str, depth: int) -> str:
    """A value; the message, the state or the word that it is."""
    if value in STATES or value in DECIDED:
        return gettext(value.capitalize())
    if value in WORDS:
        return gettext(value)
    return (found(value, depth + 1) if depth < DEEPEST and " " in value else "") or value


@cache
def patterns() -> list[tuple[tuple[str, ...], str]]:
    """Every message by the parts between its values, what says most of itself first: "{0} is {1}." must not take what another knows."""
    known = {*ENGINE, *SERVICES, *TYPED}
    return [(parts_of(template), template) for template in sorted(known, key=lambda one: (-letters(one), one))]


def parts_of(template: str) -> tuple[str, ...]:
    return tuple(part.replace("{{", "{").replace("}}", "}") for part in re.split(r"\{\d+\}", template))


def match_parts(parts: Sequence[str], text: str) -> list[str] | None:
    """The values between the parts of a message, none of them empty; None if the text is not this message.

    Each part is sought once, behind the one before: a later place for it would leave less to the rest. A regular
    expression with as many holes would try every combination of places.
    """
    first, *between = parts
    if not text.startswith(first):
        return None
    if not between:
        return [] if text == first else None
    last = between.pop()
    values, at = [], len(first)
    for part in between:
        place = text.find(part, at + 1)
        if place < 0:
            return None
        values.append(text[at:place])
        at = place + len(part)
    end = len(text) - len(last)
    if end <= at or not text.endswith(last):
        return None
    return [*values, text[at:end]]


def letters(template: str) -> int:
    return len(re.sub(r"\{\d+\}", "", template))
