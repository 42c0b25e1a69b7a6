"""Guessing is bounded, and other people's failures lock nobody out where they usually log in."""

from __future__ import annotations

import pytest
from django.test import Client, RequestFactory

from apps.platform.accounts.known_devices import COOKIE
from apps.platform.accounts.lockout import get_counted_address
from apps.platform.accounts.services import reset_password
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services
URL, OFFICE, ELSEWHERE = "/accounts/login/", "10.1.1.1", "10.2.2.2"


@pytest.fixture(autouse=True)
def _lands_on_the_account(settings):
    settings.LOGIN_REDIRECT_URL = "/account"


def attempt(name: str, password: str, *, address: str = OFFICE, client: Client | None = None):
    return (client or Client()).post(URL, {"login": name, "password": password}, REMOTE_ADDR=address)


def is_let_in(name: str, password: str, **about) -> bool:
    return attempt(name, password, **about).status_code == 302


def device_of(name: str, password: str, *, address: str = OFFICE) -> Client:
    """A browser in which the account has logged in, after the log-out."""
    client = Client()
    assert is_let_in(name, password, address=address, client=client)
    client.post("/accounts/logout/")
    return client


def guess(name: str, count: int, **about) -> list[int]:
    return [attempt(name, f"wrong {number}", **about).status_code for number in range(count)]


def test_failures_elsewhere_lock_nobody_here(engineer, password):
    assert guess("engineer", 6, address=ELSEWHERE)[-1] == 429
    assert is_let_in("engineer", password)
    assert not is_let_in("engineer", password, address=ELSEWHERE)


def test_failures_at_the_same_address_leave_a_known_device_alone(engineer, password):
    device = device_of("engineer", password)
    assert guess("engineer", 5)[-1] == 429
    assert not is_let_in("engineer", password)
    assert is_let_in("engineer", password, client=device)


def test_a_device_is_locked_by_its_own_failures_alone(engineer, viewer, password, settings):
    device = device_of("engineer", password)
    assert guess("engineer", settings.AXES_FAILURE_LIMIT, client=device) == [200] * 4 + [429]
    assert not is_let_in("engineer", password, client=device)
    assert not is_let_in("engineer", password, client=device, address=ELSEWHERE), "another address is no way round"
    assert is_let_in("engineer", password)
    record = AuditRecord.objects.filter(action="user.lock_out").first()
    assert record.object_id == "engineer"


def test_a_device_of_one_account_is_none_of_another(engineer, viewer, password):
    device = device_of("viewer", password)
    assert guess("engineer", 5)[-1] == 429
    assert not is_let_in("engineer", password, client=device)


def test_a_browser_of_several_people_keeps_each(engineer, viewer, password):
    device = device_of("viewer", password)
    assert is_let_in("engineer", password, client=device)
    device.post("/accounts/logout/")
    for name in ("engineer", "viewer"):
        guess(name, 5)
        assert is_let_in(name, password, client=device)
        device.post("/accounts/logout/")


@pytest.mark.parametrize("value", ["", "x", "e30:1abc:def", "\x00"])
def test_a_forged_cookie_is_none(engineer, password, value):
    device = device_of("engineer", password)
    guess("engineer", 5)
    device.cookies[COOKIE] = value
    assert not is_let_in("engineer", password, client=device)


def test_a_reset_forgets_the_devices(engineer, sysadmin_actor, password):
    device = device_of("engineer", password)
    new = reset_password(actor=sysadmin_actor, user=engineer)
    guess("engineer", 5)
    assert not is_let_in("engineer", new, client=device)


def test_a_new_password_forgets_the_devices(engineer, password):
    """A copy of the cookie is worth nothing any more, though nobody has reset anything."""
    device = device_of("engineer", password)
    person, new = Client(), "Another 8 of my own"
    assert is_let_in("engineer", password, client=person)
    form = {"oldpassword": password, "password1": new, "password2": new}
    assert person.post("/accounts/password/change/", form, REMOTE_ADDR=OFFICE).status_code == 302
    engineer.refresh_from_db()
    assert (engineer.password_changed_from, engineer.check_password(new)) == (OFFICE, True)
    guess("engineer", 5)
    assert not is_let_in("engineer", new, client=device)
    person.post("/accounts/logout/")
    assert is_let_in("engineer", new, client=person), "the browser in which it was changed stays known"


def test_a_refused_new_password_renews_no_cookie(engineer, password):
    person = Client()
    assert is_let_in("engineer", password, client=person)
    form = {"oldpassword": "wrong", "password1": "Another 8 of my own", "password2": "Another 8 of my own"}
    answer = person.post("/accounts/password/change/", form, REMOTE_ADDR=OFFICE)
    assert (answer.status_code, COOKIE in answer.cookies) == (200, False)


def test_the_cookie_is_no_script_s(engineer, password):
    client = Client()
    attempt("engineer", password, client=client)
    cookie = client.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert "engineer" not in cookie.value


# -- the limits of an account and of an address ---------------------------------------------------------------------
def test_what_the_lock_refuses_uses_nothing_up(engineer, password, settings):
    """Else one stranger could shut the account to everybody's new devices."""
    settings.LOG_IN_LIMITS = "8/30m/key,8/5m/ip"
    guess("engineer", 30, address=ELSEWHERE)
    assert is_let_in("engineer", password)


def test_guessing_from_many_addresses_is_bounded(engineer, viewer, password, settings):
    settings.LOG_IN_LIMITS = "8/30m/key,100/5m/ip"
    device, usual = device_of("engineer", password, address=ELSEWHERE), "10.3.3.3"
    assert is_let_in("engineer", password, address=usual)
    for number in range(10):
        guess("engineer", 1, address=f"10.9.9.{number}")
    assert not is_let_in("engineer", password, address="10.9.9.99")
    assert is_let_in("engineer", password, client=device), "a known device"
    assert is_let_in("engineer", password, address=usual), "an address that the account has logged in from"
    assert is_let_in("viewer", password)


def test_many_failures_of_an_address_refuse_no_password_that_was_used_there(engineer, viewer, password, settings):
    """The review: 30 failed log-ins of an address refused right passwords from it."""
    settings.LOG_IN_LIMITS = "40/30m/key,12/5m/ip"
    assert is_let_in("engineer", password)
    device = device_of("viewer", password, address=ELSEWHERE)
    for number in range(30):
        guess(f"nobody-{number}", 1)
    assert is_let_in("engineer", password), "an address that the account has logged in from"
    assert is_let_in("viewer", password, client=device), "a known device"
    assert not is_let_in("approver", password)


def test_one_network_of_ipv6_is_one_address():
    addresses = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "192.0.2.7"]
    counted = [get_counted_address(RequestFactory().get("/", REMOTE_ADDR=each)) for each in addresses]
    assert counted == ["2001:db8:1:2::", "2001:db8:1:2::", "192.0.2.7"]
