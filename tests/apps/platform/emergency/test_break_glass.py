from __future__ import annotations

import io

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.test import RequestFactory

from apps.platform.audit.models import AuditRecord
from apps.platform.emergency.models import EmergencyGrant, EmergencyKey
from apps.platform.notices.models import Notice

pytestmark = pytest.mark.django_db


def run(*args: str, typed: str = "", monkeypatch=None) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of the command."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    try:
        call_command("break_glass", *args, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code), out.getvalue().strip(), err.getvalue()
    return 0, out.getvalue().strip(), err.getvalue()


def test_two_printed_keys_let_one_person_in_once(monkeypatch, engineer, auditor, actor_for):
    first, second = (run("--create-key", slot, monkeypatch=monkeypatch)[1] for slot in ("1", "2"))
    assert not EmergencyKey.objects.filter(digest__in=[first, second]).exists()
    asked = ("--user", "engineer", "--reason", "nobody can log in", "--hours", "2")
    typed = f"{second.lower().replace('-', ' ')}\n{first}\n"  # in either order, as people type
    status, password, told = run(*asked, typed=typed, monkeypatch=monkeypatch)
    assert (status, "Both keys are spent" in told) == (0, True), told
    engineer.refresh_from_db()
    assert engineer.check_password(password)
    grant = EmergencyGrant.objects.get()
    assert (grant.by_keys, grant.role, actor_for(engineer).emergency_id) == (True, "system_admin", grant.pk)
    assert Notice.objects.filter(kind="emergency.granted", recipient=auditor, subject_id=grant.pk).exists()
    status, _, told = run(*asked, typed=typed, monkeypatch=monkeypatch)  # spent
    assert (status, "keys_missing" in told) == (2, True)
    assert authenticate(RequestFactory().get("/"), username="engineer", password="x") is None


def test_a_request_that_nobody_could_confirm_is_not_in_the_way(monkeypatch, engineer, request_access):
    request = request_access(engineer)
    keys = [run("--create-key", slot, monkeypatch=monkeypatch)[1] for slot in ("1", "2")]
    typed = "\n".join(keys) + "\n"
    status, _, told = run("--user", "engineer", "--reason", "nobody is there", typed=typed, monkeypatch=monkeypatch)
    assert status == 0, told
    request.refresh_from_db()
    assert request.state == "ended"
    assert EmergencyGrant.objects.get(state="active").by_keys


def test_wrong_keys_are_refused_and_recorded_and_nothing_is_spent(monkeypatch, engineer):
    keys = [run("--create-key", slot, monkeypatch=monkeypatch)[1] for slot in ("1", "2")]
    tried = {
        "twice the same": (keys[0], keys[0]),
        "garbage": ("\x00", "é" * 5000),
        "none": ("", ""),
        "one": (keys[1], ""),
    }
    for one, two in tried.values():
        status, out, told = run("--user", "engineer", "--reason", "x", typed=f"{one}\n{two}\n", monkeypatch=monkeypatch)
        assert (status, out, "wrong_keys" in told) == (2, "", True), told
        assert keys[0] not in told
    assert EmergencyKey.objects.filter(spent_at=None).count() == 2
    assert not EmergencyGrant.objects.exists()
    assert AuditRecord.objects.filter(action="emergency.use_keys", result="refused").count() == len(tried)


def test_a_new_key_makes_the_former_void(monkeypatch, engineer):
    keys = [run("--create-key", slot, monkeypatch=monkeypatch)[1] for slot in ("1", "2", "1")]
    typed = f"{keys[0]}\n{keys[1]}\n"
    assert run("--user", "engineer", "--reason", "x", typed=typed, monkeypatch=monkeypatch)[0] == 2
    assert run("--reason", "x", monkeypatch=monkeypatch)[0] == 2  # nobody named
    assert run("--user", "nobody", "--reason", "x", monkeypatch=monkeypatch)[0] == 2
