"""Which name a failed log-in counts against."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest


def username_of(request: HttpRequest | None, credentials: Mapping[str, Any] | None = None) -> str:
    """The name as axes counts it: without case or outer space, or every spelling would have failures of its own.

    By upper case first, as PostgreSQL compares: to it the long s is an S and the dotless i an I.

    The form calls the field `login`, the authentication backends call it `username`.
    """
    given = (credentials or {}).get("username")
    if given is None and request is not None:
        given = request.POST.get("login") or request.POST.get("username")
    return unicodedata.normalize("NFKC", str(given or "")).strip().upper().lower()
