"""How signing and verifying fail: with a code, the field, the value, the limit and the remedy."""

from __future__ import annotations

from deepseek.job import EngineError

MAX_VALUE_CHARACTERS = 100
"""Characters of a value in an error: what was sent may be long, and is trusted by nobody yet."""


class SigningError(EngineError):
    """A document, a signature or a key that is not accepted. `code` is stable (docs/errors.md)."""


def shorten(value: object) -> str:
    """A value as an error quotes it."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}..."
