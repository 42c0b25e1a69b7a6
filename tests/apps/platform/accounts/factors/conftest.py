"""Accounts whose roles need a second factor, and the codes of one."""

from __future__ import annotations

import time

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value

SECRET = "JBSWY3DPEHPK3PXP"


@pytest.fixture(autouse=True)
def _required(settings):
    settings.SECOND_FACTOR_ROLES = frozenset(type(settings.ENV).model_fields["second_factor_roles"].default)


@pytest.fixture
def code():
    """code(secret) -> the code of now."""

    def compute(secret=SECRET):
        return format_hotp_value(hotp_value(secret, int(time.time()) // 30))

    return compute


@pytest.fixture
def give_factor():
    """give_factor(user): an authenticator app with SECRET, and recovery codes."""

    def give(user):
        TOTP.activate(user, SECRET)
        return RecoveryCodes.activate(user)

    return give


@pytest.fixture
def log_in(client, password, code):
    """log_in(user, [code]) -> a client that has passed the log-in page, and that of the second factor if it came."""

    def pass_pages(user, given=""):
        answer = client.post("/accounts/login/", {"login": user.username, "password": password})
        if "2fa" in answer.headers.get("Location", ""):
            client.post("/accounts/2fa/authenticate/", {"code": given or code()})
        return client

    return pass_pages
