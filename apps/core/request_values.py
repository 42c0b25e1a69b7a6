"""Values of a request that are read the same way everywhere: a whole number, and one of a few choices."""

from __future__ import annotations

import re
from collections.abc import Collection

from apps.core.errors import Invalid
from deepseek.messages import N_

MAX_INT32 = 2**31 - 1  # of a number that counts within its parent: an experiment, a version, a line of a log
MAX_INT64 = 2**63 - 1  # of a key of a row
INTEGER = re.compile(r"-?[0-9]{1,19}")  # ASCII: int() also takes other digits, underscores and blanks


def parse_int(text: str | None, low: int = 0, high: int = MAX_INT64) -> int | None:
    """The whole number that `text` writes in ASCII digits; None for anything else, and outside low..high.

    The caller words the error: only it knows what the number means.
    """
    if text is None or not INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if low <= number <= high else None


def validate_choice(
    field: str,
    value: str,
    choices: Collection[str],
    message: str = N_("There is no {name} {found!r}."),
    *,
    required: bool = False,
    hint: str = N_("Take one of these."),
    code: str | None = None,
) -> None:
    """Raise Invalid for a value that is none of `choices`; empty stands for no choice unless one is `required`.

    `message` may name the field as {name} and the value as {found}.
    """
    if value in choices or not (value or required):
        return
    limit = ", ".join(filter(None, choices))
    raise Invalid(message, name=field, found=value[:40], code=code, field=field, limit=limit, hint=hint)
