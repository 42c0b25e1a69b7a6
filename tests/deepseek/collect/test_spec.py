"""What a spec of a collection may say, and which lists of hosts lie within which."""

import pytest
from pydantic import ValidationError

from deepseek.collect.hosts import Hosts, find_uncovered, parse_entry
from deepseek.collect.spec import CollectSpec

FIELD = {"name": "title", "select": "h1"}
WHOLE = {
    "start_urls": ["http://wiki.bank.example/"],
    "allowed_hosts": ["wiki.bank.example"],
    "pages": [{"fields": [FIELD]}],
}


REFUSED = [
    ({"start_urls": ["ftp://wiki.bank.example/"]}, "begins with http"),
    ({"start_urls": ["http://me:pw@wiki.bank.example/"]}, "no user name or password"),
    ({"start_urls": ["http://else.example/"]}, "else.example"),
    ({"start_urls": ["http://[::1/"]}, "no address"),
    ({"start_urls": []}, "at least 1"),
    ({"allowed_hosts": ["http://wiki"]}, "is no host"),
    ({"allowed_hosts": ["10.0.0.1/8"]}, "is no host"),
    ({"pages": []}, "at least 1"),
    ({"pages": [{}]}, "no records"),
    ({"pages": [{"items": "li"}]}, "at least one field"),
    ({"pages": [{"fields": [FIELD, FIELD]}]}, "same name"),
    ({"pages": [{"fields": [{"name": "source_url"}]}]}, "already"),
    ({"pages": [{"fields": [{"name": "1x"}]}]}, "pattern"),
    ({"pages": [{"fields": [{"name": "x", "type": "attr"}]}]}, "name of an attribute"),
    ({"pages": [{"wait_for": "b", "fields": [FIELD]}]}, "in the browser"),
    ({"pages": [{"fields": [FIELD]}, {"fields": [{"name": "title", "type": "number"}]}]}, "two types"),
    ({"robots": {"obey": False}}, "reason"),
    ({"headers": [{"name": "Authorization", "value": "x"}]}, "cannot be set"),
    ({"headers": [{"name": "X-Api-Key", "value": "x"}]}, "cannot be set"),
    ({"headers": [{"name": "A", "value": "x\r\nB: y"}]}, "pattern"),
    ({"time_zone": "../etc"}, "no time zone"),
    ({"time_zone": "Mars/Base"}, "no time zone"),
    ({"rate": {"requests_per_second": 0}}, "greater than 0"),
    ({"user_agent": "a\nb"}, "pattern"),
]


def test_what_cannot_be_is_refused():
    messages = {}
    for place, (change, part) in enumerate(REFUSED):
        with pytest.raises(ValidationError) as caught:
            CollectSpec.model_validate(WHOLE | change)
        if part not in str(caught.value):
            messages[place] = (part, str(caught.value))
    assert messages == {}


def test_the_extra_follows_from_the_pages():
    browser = {"pages": [{"render": "browser", "fields": [FIELD]}]}
    assert CollectSpec.model_validate(WHOLE).extra == "collect"
    assert CollectSpec.model_validate(WHOLE | browser).extra == "collect-browser"


LISTS = [
    (["wiki.bank.example"], ["WIKI.bank.example."], []),
    (["wiki.bank.example", "*.bank.example"], ["*.bank.example"], []),
    (["bank.example"], ["*.bank.example"], [0]),
    (["*.bank.example"], ["wiki.bank.example"], [0]),
    (["*.example"], ["*.bank.example"], [0]),
    (["10.1.2.3", "10.1.0.0/16", "10.0.0.0/8"], ["10.1.0.0/16"], [2]),
    (["[fd00::1]:80"], ["fd00::/8"], []),
    (["10.1.2.3"], ["10.1.2.3:80"], [0]),
    (["10.1.2.3:80"], ["10.1.2.3"], []),
    (["10.1.2.3.bank.example"], ["10.0.0.0/8"], [0]),
    (["evilbank.example"], ["*.bank.example", "bank.example"], [0]),
    (["银行.example"], ["xn--46qw9h.example"], [0]),
]


def test_a_list_lies_within_another():
    assert [(wanted, allowed, find_uncovered(wanted, allowed)) for wanted, allowed, _ in LISTS] == LISTS


def test_a_chinese_name_is_its_ascii_form():
    assert parse_entry("内网.example") == parse_entry("内网.example".encode("idna").decode())


ADDRESSES = [
    ([], "10.0.0.1", True),
    ([], "8.8.8.8", False),
    ([], "127.0.0.1", False),
    ([], "169.254.169.254", False),
    ([], "::ffff:127.0.0.1", False),
    ([], "fd00::1", True),
    (["10.0.0.0/8"], "192.168.0.1", False),
    (["127.0.0.0/8"], "127.0.0.1", True),
    (["127.0.0.0/8"], "::ffff:127.0.0.1", True),
]


def test_a_name_stands_only_for_internal_addresses():
    reached = [
        (listed, address, Hosts(["wiki.bank.example", *listed]).is_reachable(address))
        for listed, address, _ in ADDRESSES
    ]
    assert reached == ADDRESSES
