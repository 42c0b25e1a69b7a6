"""The password again, and the second factor where there is one; guessing locks as it does at the log-in."""

import time

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.test import Client, RequestFactory

from apps.core.errors import Invalid, Refused, TooMany
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.accounts.models import ServiceAccount
from apps.platform.accounts.reauthentication import require_proof
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services
SECRET = "JBSWY3DPEHPK3PXP"


@pytest.fixture
def give(engineer, actor_for):
    """give(password, code) -> Proof of the engineer at a browser."""

    def given(password="", code="", actor=None, address="127.0.0.1"):
        request = RequestFactory().post("/", REMOTE_ADDR=address)
        request.user, request.session = engineer, Client().session
        with context.request_context(request):
            return require_proof(request, actor or actor_for(engineer), password=password, code=code)

    return given


def code_now() -> str:
    return format_hotp_value(hotp_value(SECRET, int(time.time()) // 30))


def test_the_right_password_is_the_proof(give, engineer, password):
    proof = give(password)
    assert (proof.user_id, proof.method) == (engineer.pk, "password")


@pytest.mark.parametrize(("password", "code"), [("", "password_missing"), ("wrong", "password_wrong")])
def test_any_other_is_none(give, password, code):
    with pytest.raises(Invalid) as refusal:
        give(password)
    assert (refusal.value.code, refusal.value.field) == (code, "/password")


def test_guessing_locks_the_account_and_is_recorded(give, password, settings):
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        with pytest.raises(Invalid):
            give("wrong")
    with pytest.raises(TooMany) as refusal:
        give("wrong")
    assert refusal.value.code == "account_locked"
    with pytest.raises(TooMany):
        give(password)
    failures = AuditRecord.objects.filter(action="user.log_in", result="failed", object_id="engineer")
    assert failures.count() == settings.AXES_FAILURE_LIMIT + 1
    assert AuditRecord.objects.filter(action="user.lock_out").exists()


def test_guessing_from_many_addresses_is_bounded(give, password, settings):
    """A stolen session has no device of its own: the limits of the account count, as at the log-in."""
    settings.LOG_IN_LIMITS = "8/30m/key,100/5m/ip"
    for number in range(12):
        give(password, address=f"10.8.8.{number}")  # right ones use nothing up
    for number in range(8):
        with pytest.raises(Invalid):
            give("wrong", address=f"10.9.9.{number}")
    with pytest.raises(TooMany) as refusal:
        give(password, address="10.9.9.99")
    assert (refusal.value.code, refusal.value.limit) == ("account_locked", "8/30m/key,100/5m/ip")


def test_a_success_starts_the_count_anew(give, password, settings):
    for _ in range(2):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            with pytest.raises(Invalid):
                give("wrong")
        assert give(password)


def test_a_second_factor_is_asked_for_where_there_is_one(give, engineer, password):
    TOTP.activate(engineer, SECRET)
    with pytest.raises(Invalid) as refusal:
        give(password)
    assert (refusal.value.code, refusal.value.field) == ("code_missing", "/code")
    with pytest.raises(Invalid) as refusal:
        give(password, "000000")
    assert refusal.value.code == "code_wrong"
    assert give(password, code_now()).method == "password+code"
    assert Authenticator.objects.get().last_used_at is not None


def test_a_code_counts_once(give, engineer, password):
    TOTP.activate(engineer, SECRET)
    code = code_now()
    give(password, code)
    with pytest.raises(Invalid) as refusal:
        give(password, code)
    assert refusal.value.code == "code_wrong"


def test_a_code_without_the_password_is_nothing(give, engineer):
    TOTP.activate(engineer, SECRET)
    with pytest.raises(Invalid) as refusal:
        give("wrong", code_now())
    assert refusal.value.code == "password_wrong"


def test_guesses_of_codes_are_limited(give, engineer, password):
    TOTP.activate(engineer, SECRET)
    refusals = []
    for _ in range(25):
        with pytest.raises((Invalid, TooMany)) as refusal:
            give(password, "000000")
        refusals.append(refusal.value.code)
    assert refusals[0] == "code_wrong"
    assert refusals[-1] == "account_locked"


def test_a_token_of_the_person_is_the_proof_itself(give, engineer, make_token):
    proof = give(actor=build_actor_for_token(make_token(engineer)[1]))
    assert (proof.user_id, proof.method) == (engineer.pk, "token")


def test_a_service_account_proves_nothing(give, project, make_token):
    account = ServiceAccount.objects.create(project=project, name="nightly")
    with pytest.raises(Refused) as refusal:
        give(actor=build_actor_for_token(make_token(None, project, [], service_account=account)[1]))
    assert refusal.value.code == "not_a_person"


def test_wrong_codes_lock_the_account_though_the_password_is_right(give, engineer, password, settings):
    TOTP.activate(engineer, SECRET)
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        with pytest.raises(Invalid):
            give(password, "000000")
    with pytest.raises(TooMany) as refusal:
        give(password, "000000")
    assert refusal.value.code == "account_locked"


def test_a_security_key_counts_for_five_minutes(engineer, actor_for, password, monkeypatch):
    Authenticator.objects.create(user=engineer, type="webauthn", data={"name": "Key"})
    request = RequestFactory().post("/")
    request.user, request.session = engineer, Client().session
    with context.request_context(request):
        with pytest.raises(Invalid) as refusal:
            require_proof(request, actor_for(engineer), password=password)
        assert (refusal.value.code, refusal.value.field) == ("key_missing", "/code")
        record_authentication(request, engineer, method="mfa", type="webauthn")
        assert require_proof(request, actor_for(engineer), password=password).method == "password+key"
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 301)
        with pytest.raises(Invalid):
            require_proof(request, actor_for(engineer), password=password)


def test_who_must_have_a_factor_proves_nothing_without(give, approver, actor_for, password, settings, make_token):
    settings.SECOND_FACTOR_ROLES = frozenset({"approver"})
    for actor in (actor_for(approver), build_actor_for_token(make_token(approver)[1])):
        with pytest.raises(Refused) as refusal:
            give(password, actor=actor)
        assert refusal.value.code == "second_factor_missing"
