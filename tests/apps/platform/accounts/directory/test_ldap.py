"""Logging in by LDAP: a real OpenLDAP over LDAPS and StartTLS."""

import shutil
import tempfile
from pathlib import Path

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.core.checks import run_checks
from pydantic import SecretStr

from apps.core.errors import PlaneError
from apps.platform.accounts.models import CredentialChange, ExternalIdentity, Membership, User
from tests.apps.platform.accounts.directory.ldap_server import BASE, BIND_DN, BIND_PASSWORD, PASSWORDS, start


@pytest.fixture(scope="module")
def running():
    folder = Path(tempfile.mkdtemp(prefix="ldap-"))
    try:
        server = start(folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def directory(running, settings):
    settings.LDAP_URLS, settings.LDAP_CA_FILE = running.urls[:1], str(running.authority)
    settings.LDAP_BIND_DN, settings.LDAP_USER_BASE = BIND_DN, f"ou=people,{BASE}"
    settings.LDAP_GROUP_BASE = f"ou=groups,{BASE}"
    settings.ENV = settings.ENV.model_copy(update={"ldap_bind_password": SecretStr(BIND_PASSWORD)})
    return running


@pytest.fixture
def enter(client, directory):
    """enter(name, password) -> the answer to the form of the log-in."""

    def log_in(name="engineer", password=PASSWORDS["engineer"]):
        return client.post("/accounts/login/", {"login": name, "password": password})

    return log_in


@pytest.fixture
def engineer(engineer):
    """An account that is open to the directory."""
    engineer.open_to_directory = True
    engineer.save()
    return engineer


def is_inside(client) -> bool:
    return client.get("/account").status_code == 200


def get_failures(records) -> list[str]:
    return [body["reason"] for body in records("user.log_in") if body["result"] == "failed"]


def test_who_the_directory_knows_gets_in_with_the_roles_of_their_groups(engineer, enter, client, records, settings):
    settings.DIRECTORY_ROLES = ["ml=viewer@demo", "leads=approver@demo"]
    assert enter(name="Engineer").status_code == 302
    assert is_inside(client)
    assert set(Membership.objects.filter(user=engineer).values_list("role", flat=True)) == {"viewer"}
    [identity] = ExternalIdentity.objects.all()
    assert (identity.issuer, len(identity.subject)) == ("ldap:ou=people,dc=works,dc=example", 36)
    assert CredentialChange.objects.get(user=engineer).kind == "directory"
    assert records("user.log_in")[-1]["result"] == "done"
    client.post("/accounts/logout/")
    settings.LDAP_GROUP_BASE = ""  # then memberOf, which only some servers give unasked
    enter()
    assert is_inside(client)
    assert set(Membership.objects.filter(user=engineer).values_list("role", flat=True)) == {"viewer"}
    assert records("user.bind_to_directory")[1:] == []


def test_what_lets_nobody_in(engineer, enter, client, settings, records):
    settings.DIRECTORY_SIGN_UP = True
    wrong = [
        ("engineer", "wrong"),
        ("engineer", ""),
        ("engineer", "\x00"),
        ("*)(uid=*", PASSWORDS["engineer"]),
        ("*", PASSWORDS["engineer"]),
        ("engineer)(objectClass=*", PASSWORDS["engineer"]),
        ("eng*", PASSWORDS["engineer"]),
        ("engineer\u00ad", PASSWORDS["engineer"]),  # which the directory takes for the same name
        ("nobody", PASSWORDS["engineer"]),
        ("newcomer", PASSWORDS["engineer"]),
        ("x" * 81, PASSWORDS["engineer"]),
    ]
    inside = [case for case in wrong if enter(*case) and is_inside(client)]
    assert inside == []
    assert not ExternalIdentity.objects.exists()
    reasons = get_failures(records)  # what is empty, too long or no text goes no further than the form
    assert (len(reasons), set(reasons)) == (len(wrong) - 3, {"wrong name or password"})


def test_wrong_passwords_lock_as_those_of_the_plane(engineer, enter, client, settings):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        enter(password="wrong")
    enter()
    assert not is_inside(client)


def test_a_password_of_a_local_account_stays_here(viewer, enter, client, monkeypatch, password):
    from apps.platform.accounts.directory import ldap

    monkeypatch.setattr(ldap, "log_in", lambda *_: pytest.fail("the password left"))
    enter("viewer", "mistyped")
    assert not is_inside(client)
    enter("viewer", password)
    assert is_inside(client)


def test_unknown_people_need_the_sign_up(project, enter, client, settings):
    page = enter("newcomer", PASSWORDS["newcomer"]).content.decode()
    assert ("There is no account newcomer here" in page, is_inside(client)) == (True, False)
    settings.DIRECTORY_SIGN_UP, settings.DIRECTORY_ROLES = True, ["ml=engineer@demo"]
    enter("newcomer", PASSWORDS["newcomer"])
    made = User.objects.get(username="newcomer")
    assert is_inside(client)
    assert (made.name, made.email, made.has_usable_password()) == ("Name of newcomer", "newcomer@works.example", False)
    assert not Membership.objects.filter(user=made).exists()  # a group that no rule names gives nothing


def test_an_account_that_is_disabled_here(engineer, enter, client, records):
    enter()
    client.post("/accounts/logout/")
    User.objects.filter(pk=engineer.pk).update(is_active=False)
    assert "engineer is disabled" in enter().content.decode()
    assert not is_inside(client)
    assert get_failures(records) == ["directory: engineer is disabled."]


def test_the_second_factor_of_the_plane_is_asked_for_too(engineer, enter, client):
    TOTP.activate(engineer, "JBSWY3DPEHPK3PXP")
    assert enter().headers["Location"] == "/accounts/2fa/authenticate/"
    assert not is_inside(client)


def test_a_server_that_is_away_and_the_next_one(engineer, enter, client, settings, records, running):
    settings.LDAP_URLS = ["ldaps://127.0.0.1:9"]
    assert "does not answer" in enter().content.decode()
    assert "does not answer" in get_failures(records)[0]
    settings.LDAP_URLS = ["ldaps://127.0.0.1:9", running.urls[1]]  # the second one by StartTLS
    enter()
    assert is_inside(client)


def test_nothing_is_sent_to_a_server_that_is_not_verified(engineer, enter, client, settings, running):
    unverified = {
        "without TLS": {"LDAP_URLS": running.urls[1:], "LDAP_START_TLS": False},
        "authority": {"LDAP_CA_FILE": ""},
        "authority, StartTLS": {"LDAP_URLS": running.urls[1:], "LDAP_CA_FILE": ""},
        "name": {"LDAP_URLS": [running.urls[0].replace("127.0.0.1", "localhost")]},
        "no account of the plane": {"LDAP_BIND_DN": ""},
    }
    right = {name: getattr(settings, name) for changes in unverified.values() for name in changes}
    right["LDAP_START_TLS"] = True
    for changes in unverified.values():
        for name, value in (right | changes).items():
            setattr(settings, name, value)
        assert "The directory did not sign you in" in enter().content.decode()
    assert not is_inside(client)


def test_an_account_of_the_plane_that_is_refused(engineer, enter, settings):
    settings.ENV = settings.ENV.model_copy(update={"ldap_bind_password": SecretStr("wrong")})
    assert "it refuses the account of the plane" in enter().content.decode()


class Answering:
    """A connection whose server gives these answers, of which ldap3 raises none."""

    def __init__(self, code, description, entries=0):
        self.result = {"result": code, "description": description}
        self.response = [{"type": "searchResEntry", "raw_attributes": {"cn": [b"ml"]}}] * entries

    def bind(self):
        return self.result["result"] == 0

    def search(self, *_, **__):
        return self.bind()


def test_only_success_is_taken_for_a_right_password_and_for_all_groups(directory):
    from apps.platform.accounts.directory import ldap

    ldap.bind(Answering(0, "success"), BIND_DN, "x")
    for code, description in ((3, "timeLimitExceeded"), (10, "referral"), (14, "saslBindInProgress")):
        with pytest.raises(PlaneError, match=description):
            ldap.bind(Answering(code, description), BIND_DN, "x")
        with pytest.raises(PlaneError, match=description):
            ldap.list_groups(Answering(code, description, entries=1), "uid=a", "a", {})
    with pytest.raises(PlaneError, match="sizeLimitExceeded"):  # the server's own limit: some groups, not all
        ldap.list_groups(Answering(4, "sizeLimitExceeded", entries=3), "uid=a", "a", {})
    assert ldap.find_person(Answering(4, "sizeLimitExceeded", entries=2), "a") is None
    assert ldap.list_groups(Answering(0, "success", entries=2), "uid=a", "a", {}) == ["ml", "ml"]


def test_a_decision_takes_the_password_of_the_directory(engineer, enter, client, rf):
    from apps.platform.accounts.actors import build_actor_for_user
    from apps.platform.accounts.reauthentication import require_proof

    enter()
    bound = User.objects.get(pk=engineer.pk)
    request, actor = rf.post("/"), build_actor_for_user(bound)
    request.session, request.user, request.actor = client.session, bound, actor
    assert require_proof(request, actor, password=PASSWORDS["engineer"]).method == "password"
    with pytest.raises(PlaneError) as refusal:
        require_proof(request, actor, password="wrong")
    assert refusal.value.code == "password_wrong"


def test_the_check_names_what_is_missing(settings):
    settings.LDAP_URLS, settings.LDAP_START_TLS = ["ldap://127.0.0.1"], False
    settings.LDAP_CA_FILE = "/no/such/file"
    errors = {error.id for error in run_checks() if error.id.startswith("accounts.E")}
    assert errors >= {"accounts.E001", "accounts.E002", "accounts.E003"}
    settings.LDAP_URLS = []
    assert [error for error in run_checks() if error.id.startswith("accounts.E")] == []
