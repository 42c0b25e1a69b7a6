"""What a file is called and what it holds, as the sender says: shown and sent back, never used as a path."""

from __future__ import annotations

import re
import unicodedata

from apps.core.errors import Invalid
from deepseek.messages import Message

MAX_NAME = 255
MAX_MEDIA_TYPE = 120
OCTETS = "application/octet-stream"
MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")


def clean_file_name(sent: str) -> str:
    """The last part of a sent name, without what cannot be shown; "" when nothing is left."""
    last = re.split(r"[/\\]", sent)[-1]
    visible = "".join(letter for letter in last if is_visible(letter)).strip()
    return "" if visible in {".", ".."} else visible[:MAX_NAME]


def is_visible(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return kind[0] != "C" and kind not in ("Zl", "Zp")


def clean_media_type(sent: str) -> str:
    """The sent media type without parameters; Invalid if it is none. "" means bytes."""
    bare = sent.partition(";")[0].strip().lower()
    if not bare:
        return OCTETS
    if len(bare) > MAX_MEDIA_TYPE or not MEDIA_TYPE.fullmatch(bare):
        raise Invalid(
            "{sent!r} is no media type.",
            sent=sent[:80],
            code="bad_media_type",
            field="Content-Type",
            limit=MAX_MEDIA_TYPE,
            hint=Message("For instance {octets}; RFC 6838 has the form.", octets=OCTETS),
        )
    return bare
