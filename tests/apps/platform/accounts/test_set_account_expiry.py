from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.models import User
from apps.platform.accounts.services import disable_user, enable_user, set_account_expiry


def let_expire(user: User) -> None:
    User.objects.filter(pk=user.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_a_date_is_set_recorded_and_taken_away(engineer, sysadmin_actor, records):
    end = timezone.now() + timedelta(days=30)
    assert set_account_expiry(actor=sysadmin_actor, user=engineer, expires_at=end, reason="Leaves").expires_at == end
    assert records("user.set_expiry")[0]["after"] == {"expires_at": end.isoformat()}
    with pytest.raises(Conflict):
        set_account_expiry(actor=sysadmin_actor, user=engineer, expires_at=end)
    assert set_account_expiry(actor=sysadmin_actor, user=engineer, expires_at=None).expires_at is None


@pytest.mark.parametrize("days", [-1, 5000])
def test_dates_out_of_range(engineer, sysadmin_actor, days):
    with pytest.raises(Invalid) as refusal:
        set_account_expiry(actor=sysadmin_actor, user=engineer, expires_at=timezone.now() + timedelta(days=days))
    assert (refusal.value.code, refusal.value.field) == ("out_of_range", "/expires_at")


@pytest.mark.parametrize("who", ["secadmin", "auditor", "engineer"])
def test_only_the_system_administrator(who, request, viewer, actor_for):
    with pytest.raises(Refused):
        set_account_expiry(actor=actor_for(request.getfixturevalue(who)), user=viewer, expires_at=None)


def test_past_its_date_nobody_gets_in(engineer, client, web, api, password):
    session, token = web(engineer), api(engineer)
    let_expire(engineer)
    assert session.get("/api/v1/me").status_code == 401
    assert token.get("/api/v1/me").json()["error"]["code"] == "account_disabled"
    answer = client.post("/accounts/login/", {"login": engineer.username, "password": password})
    assert answer.headers["Location"] == "/accounts/inactive/"


def test_enabling_takes_another_date_first(engineer, sysadmin_actor):
    let_expire(engineer)
    disable_user(actor=sysadmin_actor, user=engineer)
    with pytest.raises(Conflict) as refusal:
        enable_user(actor=sysadmin_actor, user=engineer)
    assert refusal.value.code == "account_expired"
    set_account_expiry(actor=sysadmin_actor, user=engineer, expires_at=None)
    assert enable_user(actor=sysadmin_actor, user=engineer).activated_at is not None


def test_by_page_and_by_session(engineer, sysadmin, web):
    client, path = web(sysadmin), f"/people/{engineer.username}"
    day = (timezone.localtime() + timedelta(days=3)).date()
    assert (
        client.post(f"{path}/expiry", {"expiry-expires_at": day.isoformat(), "expiry-reason": "x"}).status_code == 302
    )
    assert f'value="{day.isoformat()}"' in client.get(path).content.decode()
    late = client.post(f"{path}/expiry", {"expiry-expires_at": "2020-01-01", "expiry-reason": "x"})
    assert (late.status_code, "has passed" in late.content.decode()) == (422, True)
    answer = client.put(
        f"/api/v1/users/{engineer.username}/expiry", {"expires_at": None}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["expires_at"]) == (200, None)
