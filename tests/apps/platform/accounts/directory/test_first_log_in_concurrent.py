"""Two first log-ins of one person by the directory at the same instant. Both databases."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.platform.accounts.directory.oidc import Identity
from apps.platform.accounts.models import CredentialChange, ExternalIdentity, User
from apps.platform.accounts.services import directory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]
ISSUER = "https://id.example"


def sign_in_twice(monkeypatch, *usernames: str) -> list[str]:
    """What came of each: the user name of the account, or the code of the refusal. Both see no binding first."""
    ready, bind, calls = threading.Barrier(2), directory.bind_account, []

    def bind_together(*args):
        calls.append(args)
        if len(calls) <= 2:  # not in a second try
            with contextlib.suppress(threading.BrokenBarrierError):  # a database that lets one in at a time
                ready.wait(timeout=3)
        return bind(*args)

    monkeypatch.setattr(directory, "bind_account", bind_together)

    def sign_in(username: str) -> str:
        identity = Identity(subject="subject-1", username=username, name="", email="", groups=())
        actor = build_plane_actor(PlaneRole.OPERATOR, host="directory")
        try:
            return directory.sign_in_from_directory(actor=actor, issuer=ISSUER, identity=identity).username
        except PlaneError as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(sign_in, usernames))


def test_an_account_that_is_open(engineer, monkeypatch):
    engineer.open_to_directory = True
    engineer.save()
    assert sign_in_twice(monkeypatch, "engineer", "engineer") == ["engineer", "engineer"]
    assert ExternalIdentity.objects.get().user_id == engineer.pk
    assert CredentialChange.objects.filter(user=engineer).count() == 1


def test_an_account_that_is_made(project, monkeypatch, settings):
    settings.DIRECTORY_SIGN_UP = True
    assert sign_in_twice(monkeypatch, "newcomer", "newcomer") == ["newcomer", "newcomer"]
    assert User.objects.filter(username="newcomer").count() == 1
    assert ExternalIdentity.objects.count() == 1


def test_an_account_whose_name_changes_at_that_moment(project, monkeypatch, settings):
    settings.DIRECTORY_SIGN_UP = True
    came = sign_in_twice(monkeypatch, "newcomer", "renamed")
    assert came in (["newcomer"] * 2, ["renamed"] * 2)
    assert User.objects.filter(username__in=("newcomer", "renamed")).count() == 1
