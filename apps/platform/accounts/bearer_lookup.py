"""Who holds a token, in one query: for calls that come by the thousand and bring nothing but the token.

Nothing is remembered between calls, so a token that was revoked, or a role that was taken away, is void at once.
"""

from __future__ import annotations

import json
from functools import lru_cache

from django.http import HttpRequest
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.db.fast_sql import fetch
from apps.core.errors import Unauthenticated
from apps.platform.accounts.actors import get_client_address, get_token_role, group_roles
from apps.platform.accounts.authentication import (
    LAST_USED_EVERY,
    SEND_A_TOKEN,
    find_token,
    parse_secret,
    record_token_use,
)
from apps.platform.accounts.models import ApiToken
from apps.platform.accounts.networks import require_admin_network

# A row for each role in the token's project, one without where there is none. The times are compared here, so that
# no column needs a conversion, which differs between databases.
HOLDER = """
SELECT t.id, t.project_id, p.slug, t.scopes, t.user_id, t.service_account_id, u.username, u.system_role, s.name,
       t.last_used_at IS NULL OR t.last_used_at < %s, COALESCE(u.clearance, s.clearance), m.role
  FROM accounts_apitoken t
  JOIN accounts_project p ON p.id = t.project_id
  LEFT JOIN accounts_user u ON u.id = t.user_id
  LEFT JOIN accounts_serviceaccount s ON s.id = t.service_account_id
  LEFT JOIN accounts_membership m ON m.project_id = t.project_id
       AND p.security_label <= COALESCE(u.clearance, s.clearance)
       AND (m.user_id = t.user_id AND u.system_role = '' OR m.service_account_id = t.service_account_id)
 WHERE t.digest = %s AND t.revoked_at IS NULL AND t.expires_at > %s
       AND (s.is_active OR u.is_active AND (u.expires_at IS NULL OR u.expires_at > %s))
"""


def get_bearer(request: HttpRequest) -> tuple[Actor, int, str]:
    """(the actor, id and slug of the token's project), by the Authorization header alone: no session counts.

    Raises Unauthenticated as `authentication.token_of` does, which also keeps the record of a misused token.
    """
    secret = parse_secret(request.META.get("HTTP_AUTHORIZATION", ""))
    if secret is None:
        raise Unauthenticated("Send a token.", code="unauthenticated", field="Authorization", hint=SEND_A_TOKEN)
    now = timezone.now()
    rows = fetch(HOLDER, [now - LAST_USED_EVERY, sha256_hex(secret), now, now])
    if not rows:
        find_token(request)  # raises, and says why
        raise Unauthenticated("There is no such token.", code="token_unknown", hint=SEND_A_TOKEN)
    (
        token_id,
        project_id,
        slug,
        scopes,
        user_id,
        account_id,
        username,
        system_role,
        account,
        is_stale,
        clearance,
        _role,
    ) = rows[0]
    address = get_client_address(request)
    if is_stale:
        record_token_use(ApiToken.objects.only("prefix", "last_used_at").get(pk=token_id), address)
    granted = parse_scopes(scopes)
    role = get_token_role(system_role or "", granted)
    require_admin_network(role, address)
    actor = Actor(
        kind="user" if user_id else "service_account",
        label=username if user_id else account,
        user_id=user_id,
        service_account_id=account_id,
        token_id=token_id,
        scopes=granted,
        system_role=role,
        project_roles=group_roles((project_id, row[-1]) for row in rows if row[-1]),
        clearance=clearance,
        address=address,
        request_id=getattr(request, "request_id", ""),
    )
    return actor, project_id, slug


@lru_cache(maxsize=256)
def parse_scopes(text: str) -> frozenset[str]:
    """The scopes as the column holds them: few combinations are ever used."""
    return frozenset(json.loads(text))
