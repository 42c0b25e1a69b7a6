"""One count of failures for every spelling that a database takes for the same name."""

import pytest
from django.core.cache import cache
from django.test import RequestFactory

from apps.platform.accounts.lockout import get_lockout_username

pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    "name", ["secadmin", "SECADMIN", " secadmin\t", "\u3000secadmin", "\u017fecadm\u0131n", "\uff53ecadmin"]
)
def test_spellings(name):
    assert get_lockout_username(None, {"username": name}) == "secadmin"
    assert get_lockout_username(RequestFactory().post("/", {"login": name})) == "secadmin"


def test_nobody():
    assert get_lockout_username(None, None) == ""


@pytest.mark.django_db
def test_what_is_remembered_of_data_drives_no_rate_limit_out():
    """Both live in the shared cache, which forgets the first names when it is full."""
    cache.set("allauth:rl:login_failed:ip:10.0.0.1", [1, 2, 3])
    cache.set_many({f"missing-share:{number:064x}": 0.1 for number in range(400)})
    assert cache.get("allauth:rl:login_failed:ip:10.0.0.1") == [1, 2, 3]
