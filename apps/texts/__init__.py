"""What services and the engine said in English, in the language of who reads the page.

An error keeps its message in English: the audit trail, the record of a job and REST answers must read the same to
everybody. A page shows it through `told`, which knows every message there is by the lists beside this module.
"""

from __future__ import annotations

import re
from functools import cache

from django.utils.translation import get_language, gettext

from apps.texts.engine import ENGINE
from apps.texts.services import SERVICES
from apps.texts.typed import TYPED, WORDS

SENTENCE_END = re.compile(r"(?<=[.?!]) (?=\S)")
GOT = re.compile(r"(.+?) \(got (.+)\)", re.DOTALL)  # apps/jobs/specs.py puts the value behind the message
LONGEST = 2000  # characters; what is longer is no message of ours
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
    """Its translation, "" if there is none. Two messages behind each other are tried before one long one."""
    for end in SENTENCE_END.finditer(text):
        first, rest = whole(text[: end.start()], depth), found(text[end.end() :], depth)
        if first and rest:
            return first + rest
    return whole(text, depth)


def whole(text: str, depth: int) -> str:
    """The translation of one message, its values put in again."""
    if text in WORDS:
        return gettext(text)
    held = GOT.fullmatch(text)
    if held:
        return gettext("{0} (got {1})").format(inner(held[1], depth), held[2])
    for pattern, template in patterns():
        match = pattern.fullmatch(text)
        if match:
            words = gettext(template)
            values = (inner(value, depth) for value in match.groups())
            return words.format(*values) if words != template else ""
    return ""


def inner(value: str, depth: int) -> str:
    """A value; the message, the state or the word that it is."""
    if value in STATES or value in DECIDED:
        return gettext(value.capitalize())
    if value in WORDS:
        return gettext(value)
    return (found(value, depth + 1) if depth < DEEPEST and " " in value else "") or value


@cache
def patterns() -> list[tuple[re.Pattern[str], str]]:
    """Every message as a pattern, what says most of itself first: "{0} is {1}." must not take what another knows."""
    known = {*ENGINE, *SERVICES, *TYPED}
    return [(pattern_of(template), template) for template in sorted(known, key=lambda one: (-letters(one), one))]


def pattern_of(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{\d+\}", template)
    return re.compile("(.+?)".join(re.escape(part.replace("{{", "{").replace("}}", "}")) for part in parts), re.DOTALL)


def letters(template: str) -> int:
    return len(re.sub(r"\{\d+\}", "", template))
