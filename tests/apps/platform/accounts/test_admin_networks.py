"""Administrators come from the networks of ADMIN_ALLOW alone; behind the proxy it is the address that the proxy saw."""

import pytest

from apps.platform.audit.models import AuditRecord

INSIDE, OUTSIDE = "10.20.0.7", "192.0.2.9"


@pytest.fixture(autouse=True)
def _networks(settings):
    settings.ADMIN_ALLOW = ["10.20.0.0/16", "fd00::/8"]


def count_refusals() -> int:
    return AuditRecord.objects.filter(action="session.administer", result="refused").count()


def test_a_log_in_from_outside_is_refused_and_recorded(client, secadmin, engineer, password):
    form = {"login": secadmin.username, "password": password}
    answer = client.post("/accounts/login/", form, REMOTE_ADDR=OUTSIDE)
    assert (answer.status_code, count_refusals()) == (403, 1)
    assert client.get("/account", REMOTE_ADDR=INSIDE).status_code == 302  # there is no session
    assert client.post("/accounts/login/", form, REMOTE_ADDR=INSIDE).status_code == 302
    assert client.get("/account", REMOTE_ADDR=INSIDE).status_code == 200


def test_a_session_that_moves_out_reaches_the_log_out_alone(web, sysadmin):
    client = web(sysadmin)
    wanted = {INSIDE: 200, "fd00::7": 200, OUTSIDE: 403, "10.21.0.1": 403, "nonsense": 403, "": 403}
    assert {address: client.get("/people", REMOTE_ADDR=address).status_code for address in wanted} == wanted
    assert client.get("/api/v1/users", REMOTE_ADDR=OUTSIDE).json()["error"]["code"] == "network_not_allowed"
    assert count_refusals() == 5
    assert client.get("/accounts/logout/", REMOTE_ADDR=OUTSIDE).status_code == 200


def test_behind_the_proxy_its_word_counts_and_no_other(web, sysadmin, settings):
    settings.ENV = settings.ENV.model_copy(update={"behind_tls": True, "proxy_addresses": ["10.20.0.1"]})
    client = web(sysadmin)
    wanted = {
        ("10.20.0.1", f"{OUTSIDE}, {INSIDE}"): 200,
        ("10.20.0.1", f"{INSIDE}, {OUTSIDE}"): 403,  # what the client wrote before it came to the proxy
        (OUTSIDE, INSIDE): 403,  # past the proxy
    }
    answers = {
        (peer, forwarded): client.get("/people", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded).status_code
        for peer, forwarded in wanted
    }
    assert answers == wanted


def test_members_come_from_everywhere_and_an_empty_list_is_every_one(web, engineer, auditor, settings):
    assert web(engineer).get("/account", REMOTE_ADDR=OUTSIDE).status_code == 200
    settings.ADMIN_ALLOW = []
    assert web(auditor).get("/account", REMOTE_ADDR=OUTSIDE).status_code == 200


def test_a_token_that_reads_the_trail_is_bound_too(api, auditor, project, make_token):
    client = api(make_token(auditor, project, ["audit:read"])[0])
    assert client.get("/api/v1/audit/records", REMOTE_ADDR=OUTSIDE).status_code == 403
    assert client.get("/api/v1/audit/records", REMOTE_ADDR=INSIDE).status_code == 200
