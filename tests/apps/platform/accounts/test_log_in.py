import pytest
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.services
URL = "/accounts/login/"


@pytest.fixture(autouse=True)
def _lands_on_the_account(settings):
    settings.LOGIN_REDIRECT_URL = "/account"


def attempt(client: Client, name: str, password: str):
    return client.post(URL, {"login": name, "password": password})


def logged_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_the_right_password(engineer, password):
    client = Client()
    assert attempt(client, "engineer", password).status_code == 302
    assert logged_in(client)


@pytest.mark.parametrize("name", ["ENGINEER", "Engineer"])
def test_names_have_no_case(engineer, password, name):
    client = Client()
    attempt(client, name, password)
    assert logged_in(client)


def test_five_failures_lock_the_name_whatever_its_spelling(engineer, viewer, password, settings):
    names = ["engineer", "Engineer", "ENGINEER", " engineer", "eNgineer"]
    assert len(names) == settings.AXES_FAILURE_LIMIT
    answers = [attempt(Client(), name, "wrong") for name in names]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert "Locked for now" in answers[-1].content.decode()
    client = Client()
    assert attempt(client, "engineer", password).status_code == 429
    assert not logged_in(client)
    other = Client()
    attempt(other, "viewer", password)
    assert logged_in(other)


def test_a_name_that_does_not_exist_locks_too(db):
    answers = [attempt(Client(), "ghost", "wrong").status_code for _ in range(6)]
    assert answers[-1] == 429


def test_a_success_starts_the_count_anew(engineer, password):
    for _ in range(4):
        attempt(Client(), "engineer", "wrong")
    attempt(Client(), "engineer", password)
    assert attempt(Client(), "engineer", "wrong").status_code == 200


def test_the_disabled_stay_out(engineer, password):
    type(engineer).objects.update(is_active=False)
    client = Client()
    attempt(client, "engineer", password)
    assert not logged_in(client)


def test_nobody_signs_up(db, django_user_model):
    form = {"username": "new", "password1": "correct horse battery", "password2": "correct horse battery"}
    answer = Client().post(reverse("account_signup"), form)
    assert answer.status_code == 200
    assert not django_user_model.objects.filter(username="new").exists()


def test_every_page_asks_for_a_log_in(db):
    for path in ("/account", "/account/tokens", "/people", "/people/x", "/p/demo/members"):
        answer = Client().get(path)
        assert answer.status_code == 302, path
        assert answer.headers["Location"].startswith(f"{URL}?next=/"), path


def test_guessing_when_asked_again_locks_the_name(engineer, web):
    client = web(engineer)
    answers = [client.post("/accounts/reauthenticate/", {"password": "wrong"}).status_code for _ in range(5)]
    assert answers[-1] == 429
    assert attempt(Client(), "engineer", "wrong").status_code == 429
