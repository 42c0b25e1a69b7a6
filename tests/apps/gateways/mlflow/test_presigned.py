"""GET mlflow-artifacts/presigned/<path>: an address for ranges in parallel, whose ticket stands for the token."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from django.test import Client

from apps.platform.accounts.models import ApiToken, Membership

PRESIGNED = "/api/2.0/mlflow-artifacts/presigned/"


@pytest.fixture
def signed(track, place):
    track.put(f"{place}/a b.bin", b"0123456789")
    told = track.get(f"{PRESIGNED}{place}/a%20b.bin")
    assert told["file_size"] == 10
    url = urlsplit(told["url"])
    return f"{url.path}?{url.query}"


def test_ranges_without_a_token(signed):
    response = Client().get(signed, headers={"range": "bytes=2-4"})
    assert (response.status_code, response.getvalue()) == (206, b"234")
    assert Client().get(signed).getvalue() == b"0123456789"


@pytest.mark.parametrize("gone", ["token", "member"])
def test_it_opens_nothing_when_its_holder_may_not_any_more(signed, gone):
    if gone == "token":
        ApiToken.objects.update(revoked_at=ApiToken.objects.get().created_at)
    else:
        Membership.objects.all().delete()
    assert Client().get(signed).status_code == 401


def test_a_word_that_was_changed_opens_nothing(signed):
    assert Client().get(signed[:-2]).status_code == 401
    assert Client().get(signed.partition("?")[0]).status_code == 401


def test_what_is_no_file_has_no_address(track, client_of, stranger, place, signed):
    assert track.refused("GET", f"{PRESIGNED}{place}/nothing")[0] == 404
    assert client_of(stranger).refused("GET", f"{PRESIGNED}{place}/a%20b.bin")[0] == 404
    assert track.refused("GET", f"{PRESIGNED}{place}/../x")[0] == 400
