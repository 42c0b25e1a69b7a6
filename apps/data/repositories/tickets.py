"""Signed tickets in the addresses of LFS transfers, which git-lfs sends without further headers.

It names the token that asked, whose rights are read anew when it is used: a token that is revoked opens nothing, and
neither does an address that is older than an hour. Addresses are logged without their query, here and by the proxy.
"""

from __future__ import annotations

from dataclasses import replace

from django.core import signing
from django.http import HttpRequest

from apps.core.actors import Actor
from apps.core.errors import Unauthenticated
from apps.platform.accounts.actors import build_actor_from_token_id, get_client_address
from deepseek.messages import N_

SALT = "apps.data.repositories.lfs"
SECONDS = 3600
UPLOAD, DOWNLOAD = "upload", "download"


def sign_ticket(actor: Actor, *, operation: str, project_id: int, name: str, oid: str, size: int) -> str:
    scopes = sorted(actor.scopes or ())
    claims = {"o": operation, "p": project_id, "n": name, "d": oid, "s": size, "t": actor.token_id, "c": scopes}
    return signing.dumps(claims, salt=SALT)


def find_ticket_holder(request: HttpRequest, *, operation: str, name: str, oid: str) -> tuple[Actor, int] | None:
    """Who was given this address, with their rights as they are now, and the size that was announced.

    None where the query holds no such word, or one that is old: then the Authorization header decides. Unauthenticated
    for a word of another transfer, or of a token that opens nothing any more.
    """
    ticket = request.GET.get("ticket", "")
    if not ticket:
        return None
    try:
        claims = signing.loads(ticket, salt=SALT, max_age=SECONDS)
    except signing.SignatureExpired:
        return None
    except signing.BadSignature:
        raise stale_ticket_error() from None
    if (claims["o"], claims["n"], claims["d"]) != (operation, name, oid):
        raise stale_ticket_error()
    actor = build_actor_from_token_id(claims["t"], claims["c"])
    if actor is None or claims["p"] not in actor.project_ids:
        raise stale_ticket_error()
    request_fields = {"address": get_client_address(request), "request_id": str(getattr(request, "request_id", ""))}
    return replace(actor, **request_fields), int(claims["s"])


def stale_ticket_error() -> Unauthenticated:
    return Unauthenticated("This address is not for that transfer, or no longer.", hint=N_("Ask for it again."))
