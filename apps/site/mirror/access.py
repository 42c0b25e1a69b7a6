"""Who may read packages and images by the protocols of stock clients: networks, tokens, sessions."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Unauthenticated
from apps.platform.accounts.actors import get_client_address
from apps.platform.accounts.authentication import find_token, get_session_actor, get_token_actor, is_person
from apps.platform.accounts.networks import is_in_networks
from deepseek.messages import N_

REALM = 'Basic realm="index", charset="UTF-8"'


def require_reader(request: HttpRequest, action: str) -> None:
    """Pass addresses of INDEX_ALLOW, tokens and sessions that may do this action. Raises Unauthenticated, Refused."""
    if is_in_networks(get_client_address(request), settings.ENV.index_allow):
        return
    token = find_token(request)
    if token is not None:
        actor: Actor = get_token_actor(request, token)
    elif is_person(getattr(request, "user", None)):
        actor = get_session_actor(request)
    else:
        raise Unauthenticated(
            "This address reads packages and images with a token only.",
            hint=N_("Name it in INDEX_ALLOW, or send a token as the password of the user __token__."),
        )
    request.actor = actor  # type: ignore[attr-defined]
    policy.require(actor, action)
