"""A system administrator opens a local account to the directory, and closes it again."""

import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.accounts.models import ExternalIdentity, User
from apps.platform.accounts.services import set_directory_access


def test_it_is_opened_once_and_recorded(engineer, sysadmin_actor, records):
    assert set_directory_access(actor=sysadmin_actor, user=engineer, is_open=True, reason="Moves").open_to_directory
    [body] = records("user.open_to_directory")
    assert (body["before"], body["after"], body["reason"]) == ({"bound": [], "open": False}, {"open": True}, "Moves")
    with pytest.raises(Conflict) as refusal:
        set_directory_access(actor=sysadmin_actor, user=engineer, is_open=True)
    assert (refusal.value.code, refusal.value.field) == ("nothing_to_change", "/open")


def test_closing_forgets_whom_it_was_bound_to_and_ends_the_sessions(engineer, sysadmin_actor, web, records):
    with pytest.raises(Conflict):
        set_directory_access(actor=sysadmin_actor, user=engineer, is_open=False)
    ExternalIdentity.objects.create(user=engineer, issuer="https://id.example", subject="s")
    session = web(engineer)
    assert session.get("/api/v1/me").status_code == 200
    set_directory_access(actor=sysadmin_actor, user=engineer, is_open=False)
    assert not ExternalIdentity.objects.exists()
    assert session.get("/api/v1/me").status_code == 401
    assert records("user.open_to_directory")[0]["before"]["bound"] == ["https://id.example"]


@pytest.mark.parametrize("who", ["secadmin", "auditor", "engineer"])
def test_only_the_system_administrator(who, request, viewer, actor_for):
    with pytest.raises(Refused):
        set_directory_access(actor=actor_for(request.getfixturevalue(who)), user=viewer, is_open=True)


def test_not_ones_own(sysadmin, sysadmin_actor):
    with pytest.raises(Refused) as refusal:
        set_directory_access(actor=sysadmin_actor, user=sysadmin, is_open=True)
    assert refusal.value.code == "own_account"


def test_by_page_and_by_session(engineer, sysadmin, web, settings):
    settings.OIDC_ISSUER = "https://id.example"
    client, path = web(sysadmin), f"/people/{engineer.username}"
    assert "Open to the directory" in client.get(path).content.decode()
    assert client.post(f"{path}/directory", {"open": "1", "reason": "Moves"}).status_code == 302
    page = client.get(path).content.decode()
    assert ("open to the first log-in" in page, "Close to the directory" in page) == (True, True)
    answer = client.put(f"/api/v1{path.replace('people', 'users')}/directory", {"open": False}, "application/json")
    assert (answer.status_code, answer.json()["open_to_directory"]) == (200, False)
    assert not User.objects.get(pk=engineer.pk).open_to_directory
