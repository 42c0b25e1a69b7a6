"""Signed words in addresses that clients use without their token: of one part of an upload, of one download.

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
from apps.gateways.mlflow.request import query_of
from apps.gateways.mlflow.responses import wrong
from apps.platform.accounts.actors import actor_from_token_id, client_address
from apps.platform.artifacts.models import Artifact, Holding

PART_SALT, DOWNLOAD_SALT = "apps.gateways.mlflow.part", "apps.gateways.mlflow.download"
PART_SECONDS, DOWNLOAD_SECONDS = 24 * 3600, 3600


def for_part(actor: Actor, upload_id: str, number: int) -> str:
    return signing.dumps({"u": upload_id, "n": number, **bearer(actor)}, salt=PART_SALT)


def part_of(request: HttpRequest) -> tuple[Actor, str, int]:
    """(who was given this address, the upload, the number of the part)"""
    told = read(request, PART_SALT, PART_SECONDS)
    return holder(request, told), told["u"], told["n"]


def for_download(actor: Actor, project_id: int, found: Holding) -> str:
    about = {"p": project_id, "d": found.artifact_id, "n": found.name, "m": found.media_type}
    return signing.dumps({**about, **bearer(actor)}, salt=DOWNLOAD_SALT)


def download_of(request: HttpRequest) -> Holding:
    """What this address sends; Unauthenticated where its holder may not see it any more."""
    told = read(request, DOWNLOAD_SALT, DOWNLOAD_SECONDS)
    actor = holder(request, told)
    artifact = Artifact.objects.visible_to(actor).filter(pk=told["d"]).first()
    if artifact is None:
        raise stale()
    found = Holding(project_id=told["p"], artifact=artifact, name=told["n"], media_type=told["m"])
    require(actor, "run.view", found)
    return found


def bearer(actor: Actor) -> dict[str, Any]:
    return {"t": actor.token_id, "c": sorted(actor.scopes or ())}


def read(request: HttpRequest, salt: str, seconds: int) -> dict[str, Any]:
    word = (query_of(request).get("ticket") or [""])[0]
    try:
        told: dict[str, Any] = signing.loads(word, salt=salt, max_age=seconds)
    except signing.BadSignature:
        raise stale() from None
    return told


def holder(request: HttpRequest, told: dict[str, Any]) -> Actor:
    actor = actor_from_token_id(told["t"], told["c"])
    if actor is None:
        raise stale()
    about = {"address": client_address(request), "request_id": str(getattr(request, "request_id", ""))}
    return replace(actor, **about)


def stale() -> Unauthenticated:
    return Unauthenticated("This address is not for that transfer, or no longer.", hint="Ask for it again.")


# -- where a list goes on -------------------------------------------------------------------------------------------
def token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def name_of(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise wrong("Invalid page token, could not base64-decode") from None
