"""The people behind a service account: who created it or a token of it, whom a token was given to, who used one."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.accounts.models import ApiToken, HolderKind, ServiceAccount, ServiceAccountHolder, User
from apps.platform.audit.services import record
from deepseek.messages import N_

log = logging.getLogger(__name__)


def record_holder(account: ServiceAccount, user_id: int | None, kind: HolderKind) -> bool:
    """Keep that this person can act as the account, or has; True if that is new. None is the command line."""
    if user_id is None:
        return False
    return ServiceAccountHolder.objects.get_or_create(service_account=account, user_id=user_id, kind=kind)[1]


def list_holders(service_account_id: int) -> QuerySet[ServiceAccountHolder]:
    """The account's people with what makes them so, in the order in which that came about."""
    return ServiceAccountHolder.objects.filter(service_account_id=service_account_id).select_related("user")


def is_holder(user_id: int | None, service_account_id: int | None) -> bool:
    if user_id is None or service_account_id is None:
        return False
    return ServiceAccountHolder.objects.filter(service_account_id=service_account_id, user_id=user_id).exists()


def check_holder(holder: User | None) -> None:
    """Raise Conflict where the token would be given to somebody whose account is disabled."""
    if holder is not None and not holder.is_active:
        raise Conflict(
            "{holder} is disabled.",
            holder=holder,
            code="account_disabled",
            field="/holder",
            hint=N_("Name somebody else."),
        )


def require_known_holder(actor: Actor) -> None:
    """Raise Conflict for a service account whose token nobody is recorded to hold: anybody could be asking."""
    if actor.service_account_id is None:
        return
    if actor.token_id is not None and ApiToken.objects.filter(pk=actor.token_id, holder__isnull=False).exists():
        return
    raise Conflict(
        "Nobody is recorded as the holder of the token of {actor_label}, so nobody could be kept from deciding alone.",
        actor_label=actor.label,
        code="holder_unknown",
        field="Authorization",
        hint=N_("The security administrator creates a new token with a holder, and revokes this one."),
    )


def record_session_holder(request: HttpRequest, account: ServiceAccount) -> None:
    """A token of a service account from a browser in which somebody is logged in: that person uses it."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return
    person = getattr(request, "user", None)
    if person is None or not person.is_authenticated or not isinstance(person.pk, int) or not hasattr(person, "email"):
        return
    try:
        with transaction.atomic():
            if record_holder(account, person.pk, HolderKind.USED_TOKEN):
                actor = Actor(kind="user", label=str(person), user_id=person.pk)
                record(actor=actor, action="service_account.used_by", obj=account, after={"person": str(person)})
    except AnyDatabaseError:
        log.warning("the use of the service account %s by %s could not be noted", account, person, exc_info=True)
