"""What probes act with: throwaway people, projects and browsers, all within the transaction that is rolled back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from apps.core.actors import Actor, PlaneRole, ProjectRole, SystemRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Membership, Project, User
from apps.site.compliance.probes.outcomes import Attempt, describe_fault
from apps.site.compliance.texts import Bilingual

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
METHODS, METHODS_OF = "account_authentication_methods", "account_authentication_methods_user"  # allauth's, in sessions
STRONG = "Vq7#mLz9!pRt2x-Kw"
ADDRESS = "192.0.2.17"  # of the network for documents (RFC 5737): nobody's


class ProbeContext:
    """One for a run. Nothing that it makes outlives the probe that asked for it."""

    def __init__(self) -> None:
        self._handler: Any = None
        self.operator = build_plane_actor(PlaneRole.OPERATOR, host="compliance")

    # -- people and projects ------------------------------------------------------------------------------------------
    def create_person(self, system_role: str = "", *, password: str = "", **fields: Any) -> User:
        """A person with a name that nobody has. Without `password` nobody can log in by one."""
        name = f"probe-{secrets.token_hex(6)}"
        values = {"must_change_password": False, "password_changed_at": timezone.now(), "last_login": timezone.now()}
        user = User(username=name, name="Probe", system_role=system_role, **(values | fields))
        if password:
            user.set_password(password)
            user.must_change_password = bool(fields.get("must_change_password", False))
            user.password_changed_at = fields.get("password_changed_at", timezone.now())
        else:
            user.set_unusable_password()
        user.save()
        return user

    def create_project(self) -> Project:
        return Project.objects.create(slug=f"probe-{secrets.token_hex(6)}", name="Probe")

    def create_member(self, project: Project, *roles: ProjectRole, **fields: Any) -> User:
        user = self.create_person(**fields)
        Membership.objects.bulk_create(Membership(project=project, user=user, role=role) for role in roles)
        return user

    def get_actor(self, user: User) -> Actor:
        """The actor of the person at a browser."""
        return build_actor_for_user(user, address=ADDRESS, request_id="probe")

    def operator_as_auditor(self) -> Actor:
        """Who reads what auditors read; a run has no person behind it."""
        return replace(self.operator, system_role=SystemRole.AUDITOR)

    # -- the HTTP stack -----------------------------------------------------------------------------------------------
    def open_browser(
        self,
        user: User | None = None,
        *,
        plain: bool = False,
        csrf: bool = False,
        address: str = "",
        factor: bool = True,
    ) -> Client:
        """A client of this plane's own stack, in this process. A crash is its answer 500.

        `plain`: without TLS; `factor`: the session has given a second factor, so that what is refused is refused for
        another reason than its lack.
        """
        scheme: dict[str, Any] = {} if plain or not settings.ENV.behind_tls else {"HTTP_X_FORWARDED_PROTO": "https"}
        client = Client(
            enforce_csrf_checks=csrf,
            raise_request_exception=False,
            HTTP_HOST=choose_host(),
            REMOTE_ADDR=address or choose_address(user),
            HTTP_ACCEPT="text/html,*/*",
            **scheme,
        )
        if self._handler is None:
            self._handler = client.handler
        elif not csrf:
            client.handler = self._handler  # its middleware is loaded once
        if user is not None:
            client.force_login(user, backend=BACKEND)
            if factor:
                session = client.session
                session[METHODS], session[METHODS_OF] = (
                    [{"method": "mfa", "type": "totp", "at": time.time()}],
                    str(user.pk),
                )
                session.save()
        return client


def choose_address(user: User | None) -> str:
    """An address from which this person may come: an administrator, of the first network of ADMIN_ALLOW."""
    entry = next(iter(settings.ADMIN_ALLOW), "") if user is not None and user.system_role else ""
    if not entry:
        return ADDRESS
    if entry == "loopback":
        return "127.0.0.1"
    network = ip_network(entry, strict=False)
    return str(network[1] if network.num_addresses > 1 else network[0])


def choose_host() -> str:
    """A name under which this plane answers."""
    for name in settings.ALLOWED_HOSTS:
        if name and "*" not in name:
            return f"probe{name}" if name.startswith(".") else str(name)
    return "localhost"


def refuse(text: Bilingual, attempt: Callable[[], Any], *errors: type[Exception]) -> Attempt:
    """Try a violation in a savepoint: it holds if one of `errors` came (any of the plane's own by default). Any other
    fault is a defect, not a refusal."""
    try:
        with transaction.atomic():
            attempt()
            transaction.set_rollback(True)
    except Exception as fault:  # noqa: BLE001 - what a violation of a broken control ends with is its evidence
        return Attempt(text, isinstance(fault, errors or (PlaneError,)), describe_fault(fault))
    return Attempt(text, False, "allowed")


def refuse_row(text: Bilingual, attempt: Callable[[], Any]) -> Attempt:
    """Try a write past the services: it holds if the database itself refused it."""
    return refuse(text, attempt, DatabaseError)


def expect(text: Bilingual, response: Any, *statuses: int) -> Attempt:
    """An answer of the HTTP stack: it holds if the status is one of `statuses`."""
    place = response.headers.get("Location", "")
    detail = f"{response.status_code} {place}".strip()
    return Attempt(text, response.status_code in statuses, detail)


def is_login_redirect(response: Any) -> bool:
    return response.status_code == 302 and "/login" in response.headers.get("Location", "")
