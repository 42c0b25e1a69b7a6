"""The one place in the project that listens to signals: what the auth packages do becomes records.

They have no service of ours to record it: Django and allauth for log-in, log-out, passwords and second factors, axes
for the lock-out. Every receiver only calls `record`. None may break what it watches: a log-in must not fail because
its record could not be written while the disk is full, yet that is logged as an error.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.signals import authentication_failed, authenticator_added, authenticator_removed, authenticator_reset
from axes.signals import user_locked_out
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import Error as AnyDatabaseError
from django.db import transaction
from django.dispatch import Signal
from django.http import HttpRequest

from apps.core.actors import ANONYMOUS, Actor
from apps.platform.audit.models import Result
from apps.platform.audit.services import record

log = logging.getLogger(__name__)
Receiver = Callable[..., None]


def connect_signals(*signals: Signal) -> Callable[[Receiver], Receiver]:
    """Connect a receiver to signals, in a savepoint of its own, and keep a database fault from what it watches."""

    def connect(receiver: Receiver) -> Receiver:
        @functools.wraps(receiver)
        def heard(**kwargs: Any) -> None:
            try:
                with transaction.atomic():
                    receiver(**kwargs)
            except AnyDatabaseError:
                log.exception("%s could not be recorded", receiver.__name__)

        for signal in signals:
            signal.connect(heard, weak=False, dispatch_uid=f"audit.{receiver.__name__}.{id(signal)}")
        return heard

    return connect


def build_acting_actor(request: HttpRequest | None, user: AbstractBaseUser | None = None) -> Actor:
    """Who did it: the person that the signal names, from where the request came."""
    actor: Actor = getattr(request, "actor", None) or ANONYMOUS
    if not actor.address and request is not None:
        actor = replace(actor, address=request.META.get("REMOTE_ADDR", ""))
    if user is None or user.pk is None:
        return actor
    return replace(actor, kind="user", label=user.get_username(), user_id=user.pk)


def record_account_event(
    action: str, actor: Actor, user: AbstractBaseUser | None = None, *, name: str = "", **more: Any
) -> None:
    """A record about a user's account; `name` is what was typed, where no user is known."""
    record(actor=actor, action=action, object_type="user", object_id=user.pk if user is not None else name, **more)


@connect_signals(user_logged_in)
def record_log_in(*, request: HttpRequest | None, user: AbstractBaseUser, **_: Any) -> None:
    record_account_event("user.log_in", build_acting_actor(request, user), user)


@connect_signals(user_logged_out)
def record_log_out(*, request: HttpRequest | None, user: AbstractBaseUser | None, **_: Any) -> None:
    if user is not None:  # a log-out without a session is no event
        record_account_event("user.log_out", build_acting_actor(request, user), user)


@connect_signals(user_login_failed)
def record_failed_log_in(*, credentials: Mapping[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    name = str(credentials.get("username") or credentials.get("login") or "")[:80]
    record_account_event(
        "user.log_in", build_acting_actor(request), name=name, result=Result.FAILED, reason="wrong name or password"
    )


@connect_signals(authentication_failed)
def record_failed_second_factor(*, request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    record_account_event(
        "user.second_factor", build_acting_actor(request, user), user, result=Result.FAILED, reason="wrong code"
    )


@connect_signals(user_locked_out)
def record_lock_out(*, request: HttpRequest | None, username: str | None, ip_address: str | None, **_: Any) -> None:
    actor = build_acting_actor(request)
    if not actor.address and ip_address:
        actor = replace(actor, address=ip_address)
    name, _device, digest = str(username or "").partition("#device:")  # as apps.platform.accounts.lockout counts
    where = {"locked": "device" if digest else "address"}
    record_account_event(
        "user.lock_out", actor, name=name[:80], after=where, result=Result.REFUSED, reason="too many failures"
    )


@connect_signals(authenticator_added)
def record_second_factor_added(*, request: HttpRequest, user: AbstractBaseUser, authenticator: Any, **_: Any) -> None:
    record_account_event(
        "user.add_second_factor", build_acting_actor(request, user), user, after={"type": str(authenticator.type)}
    )


@connect_signals(authenticator_removed)
def record_second_factor_removed(*, request: HttpRequest, user: AbstractBaseUser, authenticator: Any, **_: Any) -> None:
    record_account_event(
        "user.remove_second_factor", build_acting_actor(request, user), user, before={"type": str(authenticator.type)}
    )


@connect_signals(authenticator_reset)
def record_second_factor_reset(*, request: HttpRequest, user: AbstractBaseUser, authenticator: Any, **_: Any) -> None:
    record_account_event(
        "user.reset_second_factor", build_acting_actor(request, user), user, after={"type": str(authenticator.type)}
    )


@connect_signals(password_changed, password_set, password_reset)
def record_password_change(*, request: HttpRequest | None, user: AbstractBaseUser, **_: Any) -> None:
    record_account_event("user.change_password", build_acting_actor(request, user), user)
