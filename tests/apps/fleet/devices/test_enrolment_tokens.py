import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.fleet.devices.schemas import EnrolmentTokenBody
from apps.fleet.devices.services import create_enrolment_token, revoke_enrolment_token
from apps.fleet.devices.tokens import compute_token_digest

pytestmark = pytest.mark.django_db


def test_the_secret_is_kept_nowhere(create_token, find_records):
    token, secret = create_token(gateway=True, max_uses=3, tags={"line": "1"})
    assert secret.startswith("dse_")
    assert (token.digest, token.prefix) == (compute_token_digest(secret), secret[:12])
    assert (token.max_uses, token.uses, token.is_gateway) == (3, 0, True)
    [record] = find_records("device.create_enrolment_token")
    assert secret not in record.body


def test_who_may_not(create_token, project, viewer, stranger, actor_for):
    token, _ = create_token()
    body = EnrolmentTokenBody(name="x")
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            create_enrolment_token(actor=actor_for(user), project=project, body=body)
        with pytest.raises(error):
            revoke_enrolment_token(actor=actor_for(user), token=token)


def test_a_token_for_one_has_one_use(create_token):
    with pytest.raises(Invalid) as caught:
        create_token(max_uses=2)
    assert caught.value.field == "/max_uses"


def test_revoking_twice(create_token, actor_for, approver, find_records):
    token, _ = create_token()
    revoke_enrolment_token(actor=actor_for(approver), token=token, reason="lost")
    with pytest.raises(Conflict) as caught:
        revoke_enrolment_token(actor=actor_for(approver), token=token)
    assert caught.value.code == "already_revoked"
    assert len(find_records("device.revoke_enrolment_token")) == 1
