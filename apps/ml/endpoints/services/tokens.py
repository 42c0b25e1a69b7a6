"""The token of an endpoint, by which clients ask its servers."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.endpoints.access import generate_token
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.services.errors import build_deleted_error
from apps.ml.endpoints.states import EndpointState
from apps.platform.audit.services import record


def rotate_token(*, actor: Actor, endpoint: Endpoint) -> str:
    """Give the endpoint a token in place of the one it had; returned once, and kept as its digest alone.

    Its servers take the new one within seconds and refuse the old one from then on. Conflict if it was deleted.
    """
    require(actor, "endpoint.rotate_token", endpoint)
    secret, prefix, digest = generate_token()
    with transaction.atomic():
        row = Endpoint.objects.select_for_update().select_related("project").get(pk=endpoint.pk)
        if row.state == EndpointState.DELETED:
            raise build_deleted_error(row)
        before = row.token_prefix
        row.token_digest, row.token_prefix, row.token_created_at = digest, prefix, timezone.now()
        row.save(update_fields=["token_digest", "token_prefix", "token_created_at"])
        record(
            actor=actor,
            action="endpoint.rotate_token",
            obj=row,
            before={"token": before or None},
            after={"token": prefix},
        )
    return secret
