import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.accounts.services import disable_service_account


def test_its_tokens_die(secadmin_actor, tool, project, make_token, api, records):
    secret, _ = make_token(None, project, ["read"], service_account=tool)
    assert api(secret).get("/api/v1/me").status_code == 200
    disable_service_account(actor=secadmin_actor, account=tool, reason="replaced")
    assert api(secret).get("/api/v1/me").status_code == 401
    (record,) = records("service_account.disable")
    assert (record["before"], record["after"]) == ({"is_active": True}, {"is_active": False, "tokens_revoked": 1})


@pytest.mark.parametrize(
    ("who", "refusal"), [("engineer", Refused), ("sysadmin", Refused), ("auditor", Refused), ("stranger", NotFound)]
)
def test_only_the_security_administrator(who, refusal, request, tool, actor_for):
    with pytest.raises(refusal):
        disable_service_account(actor=actor_for(request.getfixturevalue(who)), account=tool)
    tool.refresh_from_db()
    assert tool.is_active


def test_already_disabled(secadmin_actor, tool):
    disable_service_account(actor=secadmin_actor, account=tool)
    with pytest.raises(Conflict) as caught:
        disable_service_account(actor=secadmin_actor, account=tool)
    assert caught.value.code == "already_disabled"
