"""Credentials: one-time passwords and their confirmation, API tokens. Secrets are shown once and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, SystemRole
from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.accounts import validation
from apps.platform.accounts.confirmations import check_confirmable, record_credential_change, require_confirmed
from apps.platform.accounts.credentials import generate_one_time_password, generate_token
from apps.platform.accounts.factors.requirements import require_factor
from apps.platform.accounts.models import ApiToken, ChangeKind, HolderKind, Project, ServiceAccount, User
from apps.platform.accounts.row_operations import (
    build_owner_filter,
    end_sessions,
    keep_former_password,
    lock_row,
    revoke_all,
)
from apps.platform.accounts.services.people import refuse_oneself
from apps.platform.accounts.token_holders import check_holder, record_holder
from apps.platform.audit.services import record, seal_now
from deepseek.messages import Message

DEFAULT_DAYS = 90
DECIDE = "approvals:decide"


def reset_password(*, actor: Actor, user: User) -> str:
    """A new one-time password, shown once; every session of the person ends, and the account decides nothing until
    `confirm_credentials`.

    Not one's own: a person who knows the password changes it, with the rules for new passwords. Not another
    administrator's either: who reads the new password could act as them, and the three are kept apart.
    """
    policy.require(actor, "user.reset_password", user)
    refuse_oneself(actor, user, "user.reset_password", Message("Change your own password on the account page."))
    password = generate_one_time_password()
    with transaction.atomic():
        user = lock_row(user)  # its role is asked of the locked row: it may be given just now
        refuse_administrator(actor, user)
        validation.check_active(user, field="/user")
        keep_former_password(user)
        user.set_password(password)
        user.must_change_password = True
        user.save(update_fields=["password", "must_change_password"])
        record_credential_change(actor, user, ChangeKind.PASSWORD)
        record(actor=actor, action="user.reset_password", obj=user, after={"sessions_ended": end_sessions(user)})
    return password


def confirm_credentials(*, actor: Actor, user: User, reason: str = "") -> User:
    """Confirm that the person, and nobody else, holds the credentials that another administrator has set.

    From now on the account decides again. Its sessions end: one might be of whoever knew the one-time password.
    Raises Refused `own_account`, `own_change`, `wrong_administrator`, `credentials_unconfirmed` (the actor's own);
    Conflict `nothing_to_change`, `one_time_password` (it is not replaced yet).
    """
    policy.require(actor, "user.confirm_credentials", user)
    require_confirmed(actor, "user.confirm_credentials")
    refuse_oneself(actor, user, "user.confirm_credentials", Message("You cannot confirm your own account."))
    with transaction.atomic():
        user = lock_row(user)
        changes = check_confirmable(actor, user)
        now = timezone.now()
        for change in changes:
            change.confirmed_by_id, change.confirmed_label, change.confirmed_at = actor.user_id, actor.label, now
            change.save(update_fields=["confirmed_by", "confirmed_label", "confirmed_at"])
        record(
            actor=actor,
            action="user.confirm_credentials",
            obj=user,
            reason=reason,
            before={"unconfirmed": [{"kind": change.kind, "by": change.by_label} for change in changes]},
            after={"sessions_ended": end_sessions(user)},
        )
        seal_now()
    return user


def refuse_administrator(actor: Actor, user: User) -> None:
    if user.system_role and actor.plane_role is not PlaneRole.OPERATOR:
        raise Refused(
            "An administrator's password is reset by the operator of the machine.",
            code="administrators_apart",
            action="user.reset_password",
            object_type="user",
            object_id=user.pk,
            hint=Message("manage.py reset_password {user_username}", user_username=user.username),
        )


# -- tokens ---------------------------------------------------------------------------------------------------------
def create_token(
    *,
    actor: Actor,
    project: Project,
    name: str,
    scopes: Iterable[str],
    days: int = DEFAULT_DAYS,
    user: User | None = None,
) -> tuple[ApiToken, str]:
    """A token of one's own and its secret, which is shown once. Only the operator makes one for another `user`, and
    one that decides only until that person has chosen a password: then it is Refused `token_not_own`."""
    policy.require(actor, "token.create", project)
    if actor.emergency_id is not None:  # it would outlive the grant, and the roles of the project may be lent ones
        raise Refused(
            "Emergency access creates no tokens.", code="borrowed_role", action="token.create", project_id=project.pk
        )
    scopes = list(scopes)
    if policy.DECIDING_SCOPES.intersection(scopes):  # it would outlive the confirmation
        require_confirmed(actor, "token.create", project_id=project.pk)
        require_factor(actor, "token.create", project_id=project.pk)
    if user is None and actor.user_id is not None:
        user = User.objects.filter(pk=actor.user_id).first()
    if user is None or (user.pk != actor.user_id and actor.plane_role is not PlaneRole.OPERATOR):
        raise Refused(
            "People make their own tokens.",
            code="not_yours",
            action="token.create",
            project_id=project.pk,
            field="/user",
        )
    if user.pk != actor.user_id and DECIDE in scopes and not user.must_change_password:
        raise Refused(
            "Nobody creates a token that decides for somebody else.",
            code="token_not_own",
            action="token.create",
            project_id=project.pk,
            field="/scopes",
            hint=Message("{user_username} creates it under Account, API tokens.", user_username=user.username),
        )
    return issue(actor, project, user, name, scopes, days, "token.create")


def create_token_for_service_account(
    *,
    actor: Actor,
    account: ServiceAccount,
    name: str,
    scopes: Iterable[str],
    days: int = DEFAULT_DAYS,
    holder: User | None = None,
) -> tuple[ApiToken, str]:
    """A token of a service account in its project, and its secret, which is shown once.

    `holder`: the person to whom it is given. Who creates it and who holds it count as requesters of what the account
    asks for. A token without a holder asks for no approval.
    """
    policy.require(actor, "token.create_for_service_account", account)
    require_confirmed(actor, "token.create_for_service_account", project_id=account.project_id)
    scopes = list(scopes)
    check_holder(holder)
    return issue(actor, account.project, account, name, scopes, days, "token.create_for_service_account", holder=holder)


def revoke_token(*, actor: Actor, token: ApiToken, reason: str = "") -> ApiToken:
    """Make a token worthless at once. One's own; the security administrator and the operator revoke any."""
    policy.require(actor, "token.revoke", token)
    governs = actor.system_role is SystemRole.SECURITY_ADMIN or actor.plane_role is not None
    if not governs and (token.user_id is None or token.user_id != actor.user_id):
        raise NotFound("There is no such token, or it is not yours.")
    with transaction.atomic():
        if revoke_all(ApiToken.objects.filter(pk=token.pk)) == 0:
            raise Conflict("The token {prefix}... is already revoked.", prefix=token.prefix, code="already_revoked")
        token.refresh_from_db()
        record(
            actor=actor,
            action="token.revoke",
            obj=token,
            reason=reason,
            after={"prefix": token.prefix, "name": token.name},
        )
        seal_now()
    return token


def issue(
    actor: Actor,
    project: Project,
    owner: User | ServiceAccount,
    name: str,
    scopes: Iterable[str],
    days: int,
    action: str,
    *,
    holder: User | None = None,
) -> tuple[ApiToken, str]:
    validation.check_days(days)
    secret, prefix, digest = generate_token()
    token = ApiToken(
        project=project,
        name=name.strip(),
        prefix=prefix,
        digest=digest,
        created_by_id=actor.user_id,
        holder=holder,
        **build_owner_filter(owner),
    )
    validation.check_fields(token, "name")
    with transaction.atomic():
        owner = lock_row(owner)  # a token made while its owner is being disabled would outlive the disabling
        validation.check_active(owner, field="/user")
        token.scopes = validation.check_scopes(scopes, project, owner)
        token.expires_at = timezone.now() + timedelta(days=days)
        token.save()
        after = {
            "owner": str(owner),
            "name": token.name,
            "prefix": prefix,
            "scopes": token.scopes,
            "expires_at": token.expires_at.isoformat(),
        }
        if isinstance(owner, ServiceAccount):
            record_holder(owner, actor.user_id, HolderKind.CREATED_TOKEN)
            record_holder(owner, holder.pk if holder else None, HolderKind.HOLDS_TOKEN)
            after["holder"] = str(holder) if holder else None
        record(actor=actor, action=action, obj=token, after=after)
    return token, secret
