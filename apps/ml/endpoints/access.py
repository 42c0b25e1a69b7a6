"""Who may ask the servers of an endpoint: its token, of which the digest is kept, and a token of the plane for tries.

A server asks for a token where its endpoint has one, and always where it listens beyond loopback. The plane's own
token is derived, never stored: web process and nodes know the same SECRET_KEY.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets

from django.conf import settings

from apps.core.canonical import sha256_hex

PREFIX = "dse_"  # lets scanners find a token that leaked into a repository
SHOWN = 12
CONTEXT = b"endpoints: requests of the plane\0"


def generate_token() -> tuple[str, str, str]:
    """(secret, prefix, digest): `dse_` and 43 URL-safe characters, 256 bits; only prefix and digest are kept."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, secret[:SHOWN], sha256_hex(secret)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a server that listens there. A name may be any address, but localhost."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def asks_for_token(token_digest: str, address: str) -> bool:
    """Whether a server at this address, of an endpoint with this digest or none, asks for a token."""
    return bool(token_digest) or not is_loopback(address)


def derive_plane_tokens(endpoint_id: int) -> list[str]:
    """The tokens by which the plane asks the servers of an endpoint: of its present key, then of former ones."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hmac.new(key.encode(), CONTEXT + str(endpoint_id).encode(), hashlib.sha256).hexdigest() for key in keys]


def list_token_digests(endpoint_id: int, token_digest: str, address: str) -> list[str]:
    """SHA-256 of each token that a server takes; none where it asks for none."""
    if not asks_for_token(token_digest, address):
        return []
    own = [token_digest] if token_digest else []
    return [*own, *(sha256_hex(token) for token in derive_plane_tokens(endpoint_id))]
