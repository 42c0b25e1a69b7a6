import pytest
from django.urls import get_resolver, reverse

from apps.platform.accounts.middleware import WITH_ONE_TIME_PASSWORD

CHANGE = "/accounts/password/change/"


@pytest.fixture
def beginner(engineer):
    engineer.must_change_password = True
    engineer.save()
    return engineer


def test_every_page_leads_to_the_change(beginner, web):
    client = web(beginner)
    for path in ("/account", "/account/tokens", "/accounts/2fa/", "/accounts/sessions/", "/people"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, CHANGE), path


def test_programs_are_refused_in_json(beginner, web):
    client = web(beginner)
    for path in ("/api/v1/me", "/api/v1/tokens", "/api/v1/projects/demo/jobs"):
        for method in ("get", "post"):
            answer = getattr(client, method)(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "password_change_required"), path


def test_a_false_token_header_opens_nothing(beginner, web):
    answer = web(beginner).get("/account", headers={"Authorization": "Bearer x"})
    assert answer.headers["Location"] == CHANGE


@pytest.mark.parametrize("name", ["account_change_password", "account_logout"])
def test_the_way_out_is_open(beginner, web, name):
    assert web(beginner).get(reverse(name)).status_code == 200


def test_the_allow_list_names_views_that_exist():
    names = {key for key in get_resolver().reverse_dict if isinstance(key, str)}
    assert names >= WITH_ONE_TIME_PASSWORD - {"set_language"}


def change(client, old, new):
    return client.post(CHANGE, {"oldpassword": old, "password1": new, "password2": new})


def test_the_change_opens_the_plane_again(beginner, web, password):
    client = web(beginner)
    assert change(client, password, "Another horse battery 7").status_code == 302
    beginner.refresh_from_db()
    assert not beginner.must_change_password
    assert beginner.password_changed_at is not None
    assert beginner.check_password("Another horse battery 7")


def test_not_the_same_again(beginner, web, password):
    answer = change(web(beginner), password, password)
    beginner.refresh_from_db()
    assert beginner.must_change_password
    assert "This is the password you have now" in answer.content.decode()


def test_weak_passwords_are_refused(beginner, web, password):
    client = web(beginner)
    for weak in ("short1", "12345678901234567", "engineer", "qwertyuiop"):
        change(client, password, weak)
        beginner.refresh_from_db()
        assert beginner.check_password(password), weak
