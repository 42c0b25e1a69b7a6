"""Signed tickets in addresses that clients use without a token: for one part of an upload, or one download.

As repositories/tickets.py: each names the token that asked, whose rights are read anew when it is used; none is
older than a day for parts, an hour for a download. Addresses are logged without their query.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any

from django.core import signing
from django.http import HttpRequest

from apps.core.actors import Actor
from apps.core.errors import Unauthenticated
from apps.core.policy import require
from apps.gateways.mlflow.request import parse_query
from apps.gateways.mlflow.responses import invalid_parameter_error
from apps.platform.accounts.actors import build_actor_from_token_id, get_client_address
from apps.platform.artifacts.models import Artifact, Holding

PART_SALT, DOWNLOAD_SALT = "apps.gateways.mlflow.part", "apps.gateways.mlflow.download"
PART_SECONDS, DOWNLOAD_SECONDS = 24 * 3600, 3600


def sign_part(actor: Actor, upload_id: str, number: int) -> str:
    return signing.dumps({"u": upload_id, "n": number, **build_bearer_claims(actor)}, salt=PART_SALT)


def read_part_ticket(request: HttpRequest) -> tuple[Actor, str, int]:
    """(who was given this address, the upload, the number of the part)"""
    claims = read_ticket(request, PART_SALT, PART_SECONDS)
    return get_ticket_actor(request, claims), claims["u"], claims["n"]


def sign_download(actor: Actor, project_id: int, holding: Holding) -> str:
    file_claims = {"p": project_id, "d": holding.artifact_id, "n": holding.name, "m": holding.media_type}
    return signing.dumps({**file_claims, **build_bearer_claims(actor)}, salt=DOWNLOAD_SALT)


def read_download_ticket(request: HttpRequest) -> Holding:
    """What this address sends; Unauthenticated where its holder may not see it any more."""
    claims = read_ticket(request, DOWNLOAD_SALT, DOWNLOAD_SECONDS)
    actor = get_ticket_actor(request, claims)
    artifact = Artifact.objects.visible_to(actor).filter(pk=claims["d"]).first()
    if artifact is None:
        raise stale_ticket_error()
    holding = Holding(project_id=claims["p"], artifact=artifact, name=claims["n"], media_type=claims["m"])
    require(actor, "run.view", holding)
    return holding


def build_bearer_claims(actor: Actor) -> dict[str, Any]:
    return {"t": actor.token_id, "c": sorted(actor.scopes or ())}


def read_ticket(request: HttpRequest, salt: str, seconds: int) -> dict[str, Any]:
    ticket = (parse_query(request).get("ticket") or [""])[0]
    try:
        claims: dict[str, Any] = signing.loads(ticket, salt=salt, max_age=seconds)
    except signing.BadSignature:
        raise stale_ticket_error() from None
    return claims


def get_ticket_actor(request: HttpRequest, claims: dict[str, Any]) -> Actor:
    actor = build_actor_from_token_id(claims["t"], claims["c"])
    if actor is None:
        raise stale_ticket_error()
    request_fields = {"address": get_client_address(request), "request_id": str(getattr(request, "request_id", ""))}
    return replace(actor, **request_fields)


def stale_ticket_error() -> Unauthenticated:
    return Unauthenticated("This address is not for that transfer, or no longer.", hint="Ask for it again.")


# -- where a list goes on -------------------------------------------------------------------------------------------
def encode_name_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def decode_name_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise invalid_parameter_error("Invalid page token, could not base64-decode") from None
