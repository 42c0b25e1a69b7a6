"""One count of failures for every spelling that a database takes for the same name."""

import pytest
from django.test import RequestFactory

from apps.accounts.lockout import username_of


@pytest.mark.parametrize(
    "name", ["secadmin", "SECADMIN", " secadmin\t", "\u3000secadmin", "\u017fecadm\u0131n", "\uff53ecadmin"]
)
def test_spellings(name):
    assert username_of(None, {"username": name}) == "secadmin"
    assert username_of(RequestFactory().post("/", {"login": name})) == "secadmin"


def test_nobody():
    assert username_of(None, None) == ""
