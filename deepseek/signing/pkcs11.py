"""A key in a token (smart card, HSM) by PKCS #11: it signs there and never leaves it. Needs the package python-pkcs11.

A key is named by a URI as RFC 7512 has it: ``pkcs11:token=plane;object=release-1``. The PIN is never part of it.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deepseek.signing.errors import SigningError, shorten
from deepseek.signing.keys import KEY_BYTES, PublicKey

PACKAGE = "python-pkcs11"
ATTRIBUTES = ("token", "serial", "object", "id")
# Attributes of a URI that say no more than others do: pkcs11-tool prints them.
IGNORED = ("model", "manufacturer", "type", "slot-id", "slot-manufacturer", "slot-description")
_session_lock = threading.Lock()
"""A login counts for the whole process: two sessions at once would log each other out."""


@dataclass(frozen=True)
class TokenSigner:
    """A private key in a token. Each signature opens a session and closes it, so that a token may be pulled out."""

    module: str
    uri: str
    pin: str = field(repr=False)
    public_key: PublicKey

    def sign(self, message: bytes) -> bytes:
        from pkcs11 import Mechanism

        with open_session(self.module, self.uri, self.pin) as (session, where):
            signature: bytes = find_key(session, where, private=True).sign(message, mechanism=Mechanism.EDDSA)
            return signature


def open_signer(module: str, uri: str, pin: str) -> TokenSigner:
    """The key that the URI names, with its public half read from the token.

    Raises SigningError ``key_uri_malformed``, ``package_missing``, ``token_unavailable`` or ``key_file_missing``.
    """
    return TokenSigner(module, uri, pin, read_public_key(module, uri, pin))


def read_public_key(module: str, uri: str, pin: str) -> PublicKey:
    parse_uri(uri)
    _require_package()
    from pkcs11 import Attribute

    with open_session(module, uri, pin) as (session, where):
        find_key(session, where, private=True)
        point = bytes(find_key(session, where, private=False)[Attribute.EC_POINT])
    # An OCTET STRING of the raw key (PKCS #11 v3.0), or a BIT STRING of it; some tokens give the raw key alone.
    if len(point) < KEY_BYTES:
        raise build_token_error("the key is none of Ed25519", f"{len(point)} bytes")
    return Ed25519PublicKey.from_public_bytes(point[-KEY_BYTES:])


def parse_uri(uri: str) -> dict[str, bytes]:
    """The attributes of a PKCS #11 URI: a token by name or serial number, a key by name or id.

    Raises SigningError ``key_uri_malformed``; a URI with a PIN in it is refused and not repeated.
    """
    scheme, _, rest = uri.partition(":")
    if scheme != "pkcs11" or "?" in rest or "pin" in rest.lower():
        raise _build_uri_error("what is no such URI, or one with a question mark or a PIN")
    where: dict[str, bytes] = {}
    for part in rest.split(";"):
        name, equals, value = part.partition("=")
        if name in IGNORED:
            continue
        if name not in ATTRIBUTES or not equals or name in where or not value:
            raise _build_uri_error(shorten(part))
        where[name] = _decode_percent(value)
    if not {"token", "serial"} & where.keys() or not {"object", "id"} & where.keys():
        raise _build_uri_error(shorten(uri))
    return where


def _decode_percent(text: str) -> bytes:
    parts = re.split(r"%([0-9A-Fa-f]{2})", text)
    return b"".join(bytes.fromhex(part) if place % 2 else part.encode() for place, part in enumerate(parts))


@contextmanager
def open_session(module: str, uri: str, pin: str) -> Iterator[tuple[Any, dict[str, bytes]]]:
    """A session that is logged in, and what the URI says. Raises SigningError ``token_unavailable``."""
    import pkcs11

    where = parse_uri(uri)
    if not module:
        raise build_token_error("no PKCS #11 module is named", "RELEASE_PKCS11_MODULE is empty")
    chosen: dict[str, Any] = {}
    if "token" in where:
        chosen["token_label"] = where["token"].decode("utf-8", "replace")
    if "serial" in where:
        chosen["token_serial"] = where["serial"]
    with _session_lock:
        try:
            with pkcs11.lib(module).get_token(**chosen).open(user_pin=pin or None) as session:
                yield session, where
        except (pkcs11.exceptions.PKCS11Error, RuntimeError, OSError) as error:
            raise build_token_error("the token cannot be used", describe_fault(error)) from error


def find_key(session: Any, where: dict[str, bytes], *, private: bool) -> Any:
    from pkcs11 import Attribute, ObjectClass

    query: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY if private else ObjectClass.PUBLIC_KEY}
    if "object" in where:
        query[Attribute.LABEL] = where["object"].decode("utf-8", "replace")
    if "id" in where:
        query[Attribute.ID] = where["id"]
    objects = list(session.get_objects(query))
    if len(objects) != 1:
        half = "private" if private else "public"
        raise SigningError(
            "key_file_missing",
            f"The token has {len(objects)} {half} keys that the URI fits.",
            field="uri",
            value=str(len(objects)),
            limit="one private and one public key",
            hint="Name it by its label (object=) or its id (id=); `pkcs11-tool --list-objects` shows both.",
        )
    return objects[0]


def describe_fault(error: Exception) -> str:
    """What a library says, which may be nothing but the name of its error; never a PIN."""
    return shorten(f"{type(error).__name__} {error}".strip())


def build_token_error(why: str, value: str) -> SigningError:
    return SigningError(
        "token_unavailable",
        f"The release key is in a token: {why} ({value}).",
        field="uri",
        value=value,
        limit="a token that the module of RELEASE_PKCS11_MODULE reaches, and its PIN",
        hint="Look at RELEASE_PKCS11_MODULE, RELEASE_PKCS11_PIN_FILE and the token.",
    )


def _build_uri_error(value: str) -> SigningError:
    return SigningError(
        "key_uri_malformed",
        "This does not name a key in a token.",
        field="uri",
        value=value,
        limit="pkcs11:token=NAME;object=NAME, or with serial= and id=; no PIN",
        hint="`pkcs11-tool --list-objects` prints the URI of each key.",
    )


def _require_package() -> None:
    if importlib.util.find_spec("pkcs11"):
        return
    raise SigningError(
        "package_missing",
        f"A key in a token needs the package {PACKAGE}.",
        field="uri",
        value="it is not installed",
        limit=f"{PACKAGE} 0.10 or newer",
        hint="Install it: python -m pip install 'deepseek-offline[pkcs11]'",
    )
