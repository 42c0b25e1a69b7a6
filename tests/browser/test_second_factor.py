"""A security key from its set-up to the next log-in, and an app, in a real browser with a virtual key."""

import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE, list_wide_pages, sign_in

PASSWORD = "A gate and two green doors 5"
MAKE = f"""
from apps.platform.accounts.models import User
user = User(username="keyholder", must_change_password=False)
user.set_password({PASSWORD!r}); user.must_change_password = False; user.save()
"""


@pytest.fixture
def holder(browser, plane, run_code):
    """(page of keyholder with a virtual security key, address at localhost): an address as 127.0.0.1 has no keys."""
    run_code(MAKE)
    address = plane.replace("127.0.0.1", "localhost")
    context = browser.new_context(base_url=address)
    page, faults = context.new_page(), []
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options | {"automaticPresenceSimulation": True}})
    yield page
    context.close()
    assert faults == []


def confirm_password(page) -> None:
    page.fill("input[name=password]", PASSWORD)
    with page.expect_navigation():  # keys are asked by a script
        page.locator("main form button").first.click()


def test_a_key_and_an_app_let_their_holder_in(holder):
    holder.goto("/")
    sign_in(holder, "keyholder", PASSWORD)
    holder.goto("/accounts/2fa/")
    holder.get_by_role("link", name="Add a key").click()
    confirm_password(holder)
    holder.get_by_role("button", name="Add", exact=True).click()
    expect(holder.locator(".codes li")).to_have_count(10)
    holder.get_by_role("link", name="I have saved them").click()
    holder.get_by_role("link", name="Manage").click()
    expect(holder.get_by_role("row", name="Master key")).to_be_visible()
    assert list_wide_pages(holder, ["/accounts/2fa/", "/accounts/2fa/webauthn/", "/accounts/2fa/webauthn/add/"]) == []

    holder.set_viewport_size({"width": 1280, "height": 800})
    holder.goto("/accounts/2fa/totp/activate/")
    secret = holder.locator(".cmd code").inner_text()
    holder.get_by_label("Authenticator code").fill(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))
    holder.get_by_role("button", name="Enable").click()
    expect(holder.get_by_role("link", name="Remove")).to_be_visible()

    holder.context.clear_cookies()
    holder.goto("/account")
    sign_in(holder, "keyholder", PASSWORD)
    holder.get_by_role("button", name="Use a security key").click()
    expect(holder.locator(".answer")).to_contain_text("keyholder")
    holder.goto("/accounts/2fa/webauthn/reauthenticate/?next=/account")
    holder.get_by_role("button", name="Use a security key").click()
    holder.wait_for_url("**/account")
