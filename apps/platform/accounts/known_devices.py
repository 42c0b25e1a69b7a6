"""Known devices: browsers in which an account has logged in, by a signed cookie (OWASP, "device cookies").

The cookie lets nobody in. A browser that has it for an account has a count of failures of its own for that account, so
that the failures of strangers do not lock its owner out.
"""

from __future__ import annotations

import secrets
import unicodedata
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from apps.core.canonical import sha256_hex
from apps.platform.accounts.models import User

COOKIE, SALT = "plane_devices", "accounts.devices"
MAX_AGE = 180 * 24 * 3600
ACCOUNTS = 5  # of one browser; the one that logged in longest ago goes
SHOWN = 16  # hex digits of the digest


def normalise_username(username: object) -> str:
    """The name as failures are counted: without case or outer space, or every spelling would have failures of its own.

    By upper case first, as PostgreSQL compares: to it the long s is an S and the dotless i an I.
    """
    return unicodedata.normalize("NFKC", str(username or "")).strip().upper().lower()


def find_device(request: HttpRequest, name: str) -> str:
    """The digest of this browser's device for the account of this name; "" where it has not logged in here.

    Void once the password is another, reset or changed: who had the account before has no count of their own any more.
    """
    cache: dict[str, str] = request.__dict__.setdefault("plane_devices_found", {})
    if name not in cache:
        nonce, epoch = read_devices(request).get(name, ("", ""))
        cache[name] = sha256_hex(nonce)[:SHOWN] if nonce and epoch == compute_password_epoch(name) else ""
    return cache[name]


def remember_device(request: HttpRequest, response: HttpResponseBase, username: str) -> None:
    """After a log-in, and after a new password is chosen here: this browser is a device of the account, with a nonce of
    its own, until the next time.

    The nonce before it stays valid where it was copied, as every one does: until the password is another, or MAX_AGE.
    """
    name = normalise_username(username)
    devices = {key: value for key, value in read_devices(request).items() if key != name}
    retained = dict(list(devices.items())[-(ACCOUNTS - 1) :])
    retained[name] = (secrets.token_urlsafe(16), compute_password_epoch(name))
    response.set_cookie(
        COOKIE,
        signing.dumps(retained, salt=SALT, compress=True),
        max_age=MAX_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def read_devices(request: HttpRequest) -> dict[str, tuple[str, str]]:
    """{name: (nonce, epoch)} of the cookie; empty where it is missing, forged, too old, or of another shape."""
    text = request.COOKIES.get(COOKIE, "")
    if not text:
        return {}
    try:
        payload: Any = signing.loads(text, salt=SALT, max_age=MAX_AGE)
        return {str(name): (str(nonce), str(epoch)) for name, (nonce, epoch) in payload.items()}
    except (signing.BadSignature, ValueError, TypeError, AttributeError):
        return {}


def compute_password_epoch(name: str) -> str:
    """A digest of how the account's password is stored, which every new password changes; "" where there is none."""
    stored = User.objects.filter(username__iexact=name).values_list("password", flat=True).first()
    return sha256_hex(f"{SALT}:{stored}")[:SHOWN] if stored else ""
