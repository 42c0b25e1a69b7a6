import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.accounts.services import revoke_token


@pytest.mark.parametrize("who", ["engineer", "secadmin"])
def test_the_owner_and_the_security_administrator(who, request, engineer, make_token, api, actor_for, records):
    secret, token = make_token(engineer)
    revoke_token(actor=actor_for(request.getfixturevalue(who)), token=token, reason="leaked")
    assert api(secret).get("/api/v1/me").json()["error"]["code"] == "token_revoked"
    assert records("token.revoke")[0]["reason"] == "leaked"


@pytest.mark.parametrize(
    ("who", "refusal"),
    [
        ("viewer", NotFound),
        ("approver", NotFound),
        ("auditor", NotFound),
        ("stranger", NotFound),
        ("sysadmin", Refused),
    ],
)
def test_nobody_elses(who, refusal, request, engineer, make_token, actor_for):
    _, token = make_token(engineer)
    with pytest.raises(refusal):
        revoke_token(actor=actor_for(request.getfixturevalue(who)), token=token)
    token.refresh_from_db()
    assert token.revoked_at is None


def test_already_revoked(engineer, make_token, actor_for):
    _, token = make_token(engineer)
    revoke_token(actor=actor_for(engineer), token=token)
    with pytest.raises(Conflict) as caught:
        revoke_token(actor=actor_for(engineer), token=token)
    assert caught.value.code == "already_revoked"


def test_a_tools_token_is_no_members_own(engineer, tool, project, make_token, actor_for):
    _, token = make_token(None, project, ["read"], service_account=tool)
    with pytest.raises(NotFound):
        revoke_token(actor=actor_for(engineer), token=token)
