"""What the auth packages do becomes records."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.signals import authentication_failed, authenticator_added, authenticator_removed, authenticator_reset
from axes.signals import user_locked_out
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError

from apps.core.actors import Actor
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
TOTP = {"authenticator": SimpleNamespace(type="totp")}
OF_A_USER = [
    (user_logged_in, {}, "user.log_in", "done"),
    (user_logged_out, {}, "user.log_out", "done"),
    (password_changed, {}, "user.change_password", "done"),
    (password_set, {}, "user.change_password", "done"),
    (password_reset, {}, "user.change_password", "done"),
    (authenticator_added, TOTP, "user.add_second_factor", "done"),
    (authenticator_removed, TOTP, "user.remove_second_factor", "done"),
    (authenticator_reset, TOTP, "user.reset_second_factor", "done"),
    (authentication_failed, {}, "user.second_factor", "failed"),
]


@pytest.fixture
def request_(rf, engineer):
    request = rf.post("/accounts/login/")
    request.session = SessionStore()
    request.session.create()
    request.actor = Actor(kind="anonymous", label="anonymous", address="192.0.2.9", request_id="r-9")
    request.user = engineer  # a new password goes on in this session
    return request


def only() -> tuple[AuditRecord, dict]:
    row = AuditRecord.objects.get()
    return row, json.loads(row.body)


@pytest.mark.parametrize(("signal", "more", "action", "result"), OF_A_USER)
def test_of_a_user(signal, more, action, result, engineer, request_, monkeypatch):
    monkeypatch.setattr(engineer, "save", lambda **_: None)  # Django's own receiver writes last_login
    signal.send(sender=type(engineer), request=request_, user=engineer, **more)
    row, facts = only()
    assert (row.action, row.result, row.object_type, row.object_id) == (action, result, "user", str(engineer.pk))
    assert (row.actor, row.user_id) == ("engineer", engineer.pk)
    assert (facts["address"], facts["request"]) == ("192.0.2.9", "r-9")


def test_a_failed_login_tells_the_name_never_the_password(request_):
    user_login_failed.send(sender=None, credentials={"username": "mallory", "password": "hunter2"}, request=request_)
    row, facts = only()
    assert (row.action, row.result, row.object_id, row.actor) == ("user.log_in", "failed", "mallory", "anonymous")
    assert "hunter2" not in row.body
    assert facts["address"] == "192.0.2.9"


def test_a_lock_out(request_):
    user_locked_out.send("axes", request=request_, username="mallory", ip_address="192.0.2.9")
    row, _ = only()
    assert (row.action, row.result, row.object_id) == ("user.lock_out", "refused", "mallory")


def test_a_log_out_without_a_session_is_nothing(request_):
    user_logged_out.send(sender=None, request=request_, user=None)
    assert not AuditRecord.objects.exists()


def test_a_full_disk_does_not_stop_a_login(engineer, request_, monkeypatch, caplog):
    def full(**_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("apps.platform.audit.receivers.record", full)
    password_changed.send(sender=type(engineer), request=request_, user=engineer)
    assert "could not be recorded" in caplog.text


def test_a_real_login_and_log_out(client, engineer, password, settings):
    settings.LOGIN_REDIRECT_URL = "/"
    client.post("/accounts/login/", {"login": "engineer", "password": "wrong"})
    client.post("/accounts/login/", {"login": "engineer", "password": password})
    client.post("/accounts/logout/")
    rows = AuditRecord.objects.order_by("pk").filter(object_type="user")
    assert [(row.action, row.result) for row in rows] == [
        ("user.log_in", "failed"),
        ("user.log_in", "done"),
        ("user.log_out", "done"),
    ]
