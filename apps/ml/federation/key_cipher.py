"""Private keys of studies and sites, encrypted in the database."""

from __future__ import annotations

from apps.core.encryption.columns import TextUnreadable, decrypt_text, encrypt_text
from apps.core.errors import Unavailable
from deepseek.messages import N_

PURPOSE = "plane/federation-keys/v1"


def encrypt_key(pem: str) -> str:
    return encrypt_text(pem, PURPOSE)


def decrypt_key(stored: str) -> str:
    """The PEM of a stored key. Raises Unavailable `key_unreadable` where it is under a key that is not configured."""
    try:
        return decrypt_text(stored, PURPOSE)
    except TextUnreadable:
        raise Unavailable(
            "The private key was encrypted under another SECRET_KEY.",
            code="key_unreadable",
            hint=N_("Add the former key to SECRET_KEY_FALLBACKS."),
        ) from None
