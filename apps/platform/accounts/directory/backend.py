"""The password form's second look: an account that is the directory's, or nobody's here, is tried at LDAP_URLS."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.accounts.models import ExternalIdentity, User
from apps.platform.accounts.services.directory import sign_in_from_directory


class LdapBackend(ModelBackend):
    """Behind the lock-out's backend and that of the plane's own passwords, so both count as at every log-in."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """The account of whom the directory knows; None for a wrong name or password. Refused, or DirectoryFailed, as
        `sign_in_from_directory` and the directory say."""
        if not settings.LDAP_URLS or not username or not password or not is_of_directory(username):
            return None
        from apps.platform.accounts.directory.ldap import log_in  # an extra of the installation

        identity = log_in(username, password)
        if identity is None:
            return None
        actor = build_plane_actor(PlaneRole.OPERATOR, host="directory")
        return sign_in_from_directory(actor=actor, issuer=get_ldap_issuer(), identity=identity)


def get_ldap_issuer() -> str:
    """The directory's name here: of its tree, not of the server that answers today."""
    return f"ldap:{settings.LDAP_USER_BASE.lower()}"


def is_of_directory(username: str) -> bool:
    """Whether a password that was typed with this name may leave the plane: not that of a local account."""
    user = User.objects.filter(username__iexact=username.strip()).first()
    if user is None or user.open_to_directory:
        return True
    return ExternalIdentity.objects.filter(user=user, issuer=get_ldap_issuer()).exists()
