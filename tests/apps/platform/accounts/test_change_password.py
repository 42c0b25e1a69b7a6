import re

import pytest

CHANGE = "/accounts/password/change/"
NEW = "Another horse battery 7"


@pytest.fixture
def sessions(engineer, web):
    """Two browsers in which the person is signed in."""
    return web(engineer), web(engineer)


def is_signed_in(client) -> bool:
    return client.get("/account").status_code == 200


def test_this_session_continues_and_the_others_end(sessions, password):
    here, _elsewhere = sessions
    assert [is_signed_in(client) for client in sessions] == [True, True]
    assert here.post(CHANGE, {"oldpassword": password, "password1": NEW, "password2": NEW}).status_code == 302
    assert [is_signed_in(client) for client in sessions] == [True, False]


def test_a_password_just_chosen_is_not_asked_for_again(sessions, password):
    here, factor = sessions[0], "/accounts/2fa/totp/activate/"
    assert "/accounts/reauthenticate/" in here.get(factor).url
    here.post(CHANGE, {"oldpassword": "wrong", "password1": NEW, "password2": NEW})
    assert here.get(factor).status_code == 302
    here.post(CHANGE, {"oldpassword": password, "password1": NEW, "password2": NEW})
    assert here.get(factor).status_code == 200


def test_the_page_says_what_becomes_of_sessions(sessions):
    text = sessions[0].get(CHANGE).content.decode()
    assert "This session continues; all your other sessions end." in text


def test_a_refused_change_ends_nothing(sessions):
    sessions[0].post(CHANGE, {"oldpassword": "wrong", "password1": NEW, "password2": NEW})
    assert [is_signed_in(client) for client in sessions] == [True, True]


def test_the_page_of_second_factors_promises_no_more_than_is_asked(sessions):
    text = sessions[0].get("/accounts/2fa/").content.decode()
    assert "Once set up, sign-in and every approval require its code." in text


def test_titles_name_the_plane_once(client, sessions):
    pages = [client.get("/accounts/login/"), client.get("/accounts/signup/"), sessions[0].get("/accounts/logout/")]
    titles = [re.search("<title>(.*?)</title>", answer.content.decode())[1] for answer in pages]
    assert [(title, title.count("Control plane")) for title in titles if title.count("Control plane") != 1] == []
    assert titles[0] == "Sign in - Control plane"
