"""Logging in by an internal issuer of OpenID Connect: a real one over HTTP, with signed tokens."""

import time

import pytest
from allauth.mfa.totp.internal.auth import TOTP

from apps.platform.accounts.models import CredentialChange, ExternalIdentity, Membership, User
from tests.apps.platform.accounts.directory.issuer import CLIENT, SECRET, Issuer

CALLBACK = "/accounts/oidc/callback/"


@pytest.fixture(scope="module")
def running():
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@pytest.fixture
def issuer(running, settings):
    from pydantic import SecretStr

    running.reset()
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = running.address, CLIENT
    settings.ENV = settings.ENV.model_copy(update={"oidc_client_secret": SecretStr(SECRET)})
    return running


@pytest.fixture
def engineer(engineer):
    """An account that is open to the directory."""
    return open_to_directory(engineer)


def open_to_directory(user) -> User:
    user.open_to_directory = True
    user.save(update_fields=["open_to_directory"])
    return user


@pytest.fixture
def enter(client, issuer):
    """enter(**claims) -> the answer to the browser that comes back from the issuer."""

    def log_in(follow="", **claims):
        issuer.claims = claims
        leave = client.get("/accounts/oidc/login/", {"next": follow})
        return client.get(CALLBACK, issuer.authorize(leave.headers["Location"]))

    return log_in


def is_inside(client) -> bool:
    return client.get("/account").status_code == 200


def get_failures(records) -> list[str]:
    return [body["reason"] for body in records("user.log_in") if body["result"] == "failed"]


def test_who_the_issuer_names_gets_in_and_is_found_again_by_subject(engineer, enter, client, records):
    assert enter(follow="/account/tokens").headers["Location"] == "/account/tokens"
    assert is_inside(client)
    [identity] = ExternalIdentity.objects.all()
    assert (identity.user, identity.subject) == (engineer, "subject-1")
    assert CredentialChange.objects.get(user=engineer).kind == "directory"  # decides nothing until it is confirmed
    assert records("user.bind_to_directory")[0]["after"]["subject"] == "subject-1"
    client.post("/accounts/logout/")
    enter(preferred_username="renamed")
    assert is_inside(client)
    assert CredentialChange.objects.count() == 1


def test_a_user_name_alone_takes_over_no_account(viewer, enter, client, records):
    page = enter(preferred_username="VIEWER")
    assert not is_inside(client)
    assert "not open to the directory" in client.get(page.headers["Location"]).content.decode()
    assert not ExternalIdentity.objects.exists()
    [reason] = get_failures(records)
    assert "not open to the directory" in reason


def test_an_opening_is_for_one_binding_and_ends_the_one_time_password(engineer, enter, client):
    engineer.must_change_password = True
    engineer.save()
    enter()
    bound = User.objects.get(pk=engineer.pk)
    assert (bound.open_to_directory, bound.must_change_password, bound.has_usable_password()) == (False, False, False)


def test_what_does_not_hold_lets_nobody_in(engineer, enter, issuer, client, records):
    now = int(time.time())
    wrong = {
        "issuer": {"iss": "http://127.0.0.1:1"},
        "audience": {"aud": "another"},
        "another's": {"aud": [CLIENT, "another"], "azp": "another"},
        "nonce": {"nonce": "of another log-in"},
        "no nonce": {"nonce": None},
        "expired": {"exp": now - 3600, "iat": now - 7200},
        "no end": {"exp": None},
        "nobody": {"sub": None},
        "no name": {"preferred_username": None},
        "groups": {"groups": "staff"},
        "a name of nonsense": {"preferred_username": "engineer\x00"},
        "a subject that would be cut short": {"sub": "s" * 256},
        "another nonce": {"nonce": "é"},
    }
    inside = {name for name, claims in wrong.items() if enter(**claims) and is_inside(client)}
    issuer.signing = issuer.other_key
    inside |= {"signature"} if enter() and is_inside(client) else set()
    issuer.signing = issuer.key
    for keys in ("text", ["text"], [{"kid": "first", "kty": "RSA", "n": "!", "e": 3}]):
        issuer.keys = keys
        inside |= {"keys"} if enter() and is_inside(client) else set()
    issuer.keys = None
    for algorithm in ("HS256", "none"):
        issuer.algorithm = algorithm
        inside |= {algorithm} if enter() and is_inside(client) else set()
    assert inside == set()
    assert len(get_failures(records)) == len(wrong) + 6
    assert not ExternalIdentity.objects.exists()


def test_metadata_of_another_issuer(issuer, client, records):
    for metadata in ({"issuer": "https://elsewhere.example"}, {"authorization_endpoint": "ftp://x"}):
        issuer.metadata = metadata
        assert client.get("/accounts/oidc/login/").headers["Location"] == "/accounts/login/"
    assert len(get_failures(records)) == 2


def test_only_the_browser_that_began_it(engineer, issuer, client, password):
    from django.test import Client

    leave = client.get("/accounts/oidc/login/")
    back = issuer.authorize(leave.headers["Location"])
    other = Client()
    other.get(CALLBACK, back)
    assert not is_inside(other)
    client.get(CALLBACK, back | {"state": "é"})
    client.get("/accounts/oidc/login/")
    client.get(CALLBACK, back | {"state": "another"})
    client.get(CALLBACK, back)  # a state is for one try
    assert not is_inside(client)


def test_it_leads_to_no_other_host(engineer, enter):
    assert enter(follow="https://elsewhere.example/").headers["Location"] == "/"


def test_accounts_that_are_unknown_or_disabled(engineer, enter, client, settings):
    enter(preferred_username="newcomer")
    assert not is_inside(client)
    assert not User.objects.filter(username="newcomer").exists()
    settings.DIRECTORY_SIGN_UP = True
    enter(preferred_username="newcomer")
    assert is_inside(client)
    made = User.objects.get(username="newcomer")
    assert not made.has_usable_password()
    made.is_active = False
    made.save()
    client.post("/accounts/logout/")
    enter(preferred_username="newcomer")
    assert not is_inside(client)
    enter(sub="another subject", preferred_username="newcomer")
    assert not is_inside(client)


def test_groups_give_roles_and_take_them_at_the_next_log_in(engineer, project, other_project, enter, settings):
    settings.DIRECTORY_ROLES = ["ml=engineer@demo", "ml=viewer@demo", "leads=approver@demo", "ops=engineer@gone"]
    Membership.objects.create(project=other_project, user=engineer, role="viewer")
    enter(groups=["ml", "leads", "unknown"])
    assert list_roles(engineer) == {("demo", "engineer"), ("demo", "viewer"), ("demo", "approver"), ("other", "viewer")}
    enter(groups=["leads"])
    assert list_roles(engineer) == {("demo", "approver"), ("other", "viewer")}
    enter(groups=[])
    assert list_roles(engineer) == {("other", "viewer")}  # which the directory does not fill


def list_roles(user) -> set[tuple[str, str]]:
    return set(Membership.objects.filter(user=user).values_list("project__slug", "role"))


def test_it_makes_an_administrator_only_where_a_group_is_mapped(sysadmin, auditor, enter, client, settings):
    open_to_directory(sysadmin)
    enter(preferred_username="sysadmin", groups=["admins"])
    assert not is_inside(client)
    settings.DIRECTORY_ROLES = ["admins=system_admin", "control=auditor"]
    enter(preferred_username="sysadmin", groups=["admins"])
    assert is_inside(client)
    enter(preferred_username="sysadmin", groups=[])
    assert User.objects.get(pk=sysadmin.pk).system_role == ""
    enter(preferred_username="sysadmin", groups=["admins", "control"])  # nobody is two of them
    assert User.objects.get(pk=sysadmin.pk).system_role == ""


def test_an_account_that_the_plane_made_an_administrator_since_logs_in_here_alone(engineer, enter, client):
    enter()
    client.post("/accounts/logout/")
    Membership.objects.filter(user=engineer).delete()
    User.objects.filter(pk=engineer.pk).update(system_role="security_admin")
    enter()
    assert not is_inside(client)


def test_the_second_factor_of_the_plane_is_asked_for_too(engineer, enter, client):
    TOTP.activate(engineer, "JBSWY3DPEHPK3PXP")
    assert enter().headers["Location"] == "/accounts/2fa/authenticate/"
    assert not is_inside(client)


def test_without_an_issuer_there_is_no_such_page(client, db):
    assert client.get("/accounts/oidc/login/").status_code == 404
    assert client.get(CALLBACK).status_code == 404
    assert "directory" not in client.get("/accounts/login/").content.decode()


def test_an_issuer_that_is_away(settings, client, db):
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    answer = client.get("/accounts/oidc/login/", follow=True)
    assert "does not answer" in answer.content.decode()
