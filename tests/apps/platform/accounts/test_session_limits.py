import time

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from apps.platform.accounts.middleware import SEEN, STARTED


def shift(client, **seconds) -> None:
    """Move the session's times into the past."""
    session = client.session
    for key, value in seconds.items():
        session[key] = int(time.time()) - value
    session.save()


def test_an_unused_session_ends(engineer, web):
    client = web(engineer)
    client.get("/account")
    Session.objects.update(expire_date=timezone.now())
    assert client.get("/account").status_code == 302


def test_the_expiry_follows_use_but_at_most_once_a_minute(engineer, web, settings):
    client = web(engineer)
    client.get("/account")
    first = Session.objects.get().expire_date
    client.get("/account")
    assert Session.objects.get().expire_date == first
    shift(client, seen_at=61)
    Session.objects.update(expire_date=first - timezone.timedelta(seconds=61))
    client.get("/account")
    assert Session.objects.get().expire_date >= first
    assert settings.SESSION_COOKIE_AGE == 30 * 60


def test_a_stream_that_reopens_by_itself_is_no_use(engineer, web):
    client = web(engineer)
    client.get("/account")
    shift(client, seen_at=100)
    before = client.session[SEEN]
    client.get("/account", headers={"Accept": "text/event-stream"})
    assert client.session[SEEN] == before


@pytest.mark.parametrize(("age", "ends"), [(-5, False), (0, True), (3600, True)])
def test_an_old_session_ends_though_used(engineer, web, settings, age, ends):
    client = web(engineer)
    client.get("/account")
    shift(client, started_at=settings.SESSION_ABSOLUTE_AGE + age)
    answer = client.get("/account", follow=True)
    assert (STARTED not in client.session) == ends
    assert ("Your session has ended" in answer.content.decode()) == ends
    assert bool(answer.redirect_chain) == ends


def test_programs_are_told_in_json(engineer, web, settings):
    client = web(engineer)
    client.get("/account")
    shift(client, started_at=settings.SESSION_ABSOLUTE_AGE)
    answer = client.get("/api/v1/me")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_htmx_is_sent_to_the_log_in_as_a_page(engineer, web, settings):
    client = web(engineer)
    client.get("/account")
    shift(client, started_at=settings.SESSION_ABSOLUTE_AGE)
    answer = client.get("/account", headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"].startswith("/accounts/login/")


def test_a_second_look_writes_nothing(engineer, web, django_assert_max_num_queries):
    client = web(engineer)
    client.get("/account")
    with django_assert_max_num_queries(14) as captured:
        client.get("/account")
    assert not [q["sql"] for q in captured if not q["sql"].lstrip().upper().startswith("SELECT")]


def test_what_a_person_saw_stays_in_no_cache(engineer, web):
    client = web(engineer)
    for path in ("/account", "/api/v1/me", "/accounts/2fa/"):
        assert "no-store" in client.get(path).headers["Cache-Control"], path


def test_a_forged_form_is_recorded_where_somebody_is_logged_in(engineer, web, records):
    assert web(engineer, csrf=True).post("/account", {"name": "x"}).status_code == 403
    assert Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "x"}).status_code == 403
    assert [body["actor"]["label"] for body in records("session.write")] == ["engineer"]


def test_a_new_password_ends_the_other_sessions(engineer, web, password):
    here, elsewhere = web(engineer), web(engineer)
    fresh = "Another battery 42 horse"
    form = {"oldpassword": password, "password1": fresh, "password2": fresh}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert [client.get("/account").status_code for client in (here, elsewhere)] == [200, 302]


def test_an_ended_session_still_opens_the_log_in_page(engineer, web, settings):
    client = web(engineer)
    client.get("/account")
    shift(client, started_at=settings.SESSION_ABSOLUTE_AGE)
    assert client.get("/accounts/login/").status_code == 200
