"""The plane's way to a directory over LDAP is encrypted, and complete."""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security)
def check_ldap(**kwargs: Any) -> list[CheckMessage]:
    """accounts.E001 without TLS, E002 without an account to search with, E003 with a file of authorities that cannot be
    read, E004 without the library."""
    if not settings.LDAP_URLS:
        return []
    errors: list[CheckMessage] = []
    clear = [address for address in settings.LDAP_URLS if address.startswith("ldap:")]
    if clear and not settings.LDAP_START_TLS:
        errors.append(
            Error(
                f"{clear[0]} would send passwords without TLS: nobody logs in by it.",
                hint="Write ldaps://, or leave LDAP_START_TLS on.",
                id="accounts.E001",
            )
        )
    if not settings.LDAP_BIND_DN or not settings.ENV.ldap_bind_password.get_secret_value():
        errors.append(
            Error(
                "The plane has no account in the directory to search with: it binds without a password nowhere.",
                hint="Set LDAP_BIND_DN and LDAP_BIND_PASSWORD_FILE.",
                id="accounts.E002",
            )
        )
    if settings.LDAP_CA_FILE:
        try:
            ssl.create_default_context(cafile=settings.LDAP_CA_FILE)
        except OSError as failure:
            text = f"LDAP_CA_FILE={settings.LDAP_CA_FILE} cannot be used: {failure.strerror or failure}."
            errors.append(Error(text, hint="Name a file of certificates (PEM).", id="accounts.E003"))
    if find_spec("ldap3") is None:
        errors.append(
            Error(
                "LDAP_URLS needs the package ldap3.",
                hint="Install the extra ldap: pip install 'deepseek-offline[ldap]'.",
                id="accounts.E004",
            )
        )
    return errors
