"""Files that a collection would delete, told to pages and programs: the list of the command, and nothing changes."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from apps.platform.artifacts import gc_preview
from apps.platform.artifacts.gc_preview import preview_garbage
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import publish_upload
from apps.platform.artifacts.stores import get_store

pytestmark = pytest.mark.django_db
PAGE, API = "/garbage?older_than=0m", "/api/v1/artifacts/garbage?older_than=0m"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A page looks for a blink of an eye, which on a busy machine is over before it has begun."""
    monkeypatch.setattr("apps.platform.artifacts.views.QUICK_SECONDS", 60)


@pytest.fixture(autouse=True)
def _there(folder):
    """As a plane that has started: a folder that is not there is a share that is not mounted."""
    (folder.root / "sha256").mkdir(parents=True)


@pytest.fixture
def filled(actor_for, engineer, project, stored):
    """Three uploads that nothing cites, and bytes that no artifact names; the digests in order."""
    for data in (b"1", b"22", b"333"):
        publish_upload(actor=actor_for(engineer), project=project, stream=[data], name="it")
    stored(get_store(), b"4444")
    return sorted(
        [*Artifact.objects.values_list("digest", flat=True), *(one.digest for one in get_store().objects())][-4:]
    )


def test_pages_of_it_are_the_list_of_the_command(api, auditor, filled, capsys):
    call_command("collect_garbage", "--dry-run", "--older-than", "0m")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    client, found, cursor = api(auditor), [], ""
    while cursor is not None:
        answer = client.get(f"{API}&limit=3" + (f"&cursor={cursor}" if cursor else "")).json()
        found += answer["items"]
        cursor = answer["next"]
    assert [[one["digest"], str(one["size"]), one["why"]] for one in found] == lines
    assert (answer["artifacts"], answer["bytes"], answer["complete"]) == (4, 10, True)
    assert [line[2] for line in lines].count("unnamed") == 1
    assert len(list(get_store().objects())) == 4


def test_what_is_young_is_none(api, auditor, filled):
    answer = api(auditor).get("/api/v1/artifacts/garbage").json()
    assert (answer["items"], answer["artifacts"], answer["next"]) == ([], 0, None)


@pytest.mark.parametrize(
    ("query", "field"), [("older_than=soon", "older_than"), ("why=x", "why"), ("limit=0", "limit")]
)
def test_nonsense_is_named(api, auditor, filled, query, field):
    answer = api(auditor).get(f"/api/v1/artifacts/garbage?{query}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_who_may(api, web, engineer, viewer, secadmin, sysadmin, auditor):
    for who in (engineer, viewer):
        assert api(who).get(API).status_code == 403
    assert [web(who).get(PAGE).status_code for who in (engineer, secadmin, sysadmin, auditor)] == [403, 403, 200, 200]


def test_a_look_is_bounded_and_says_so(actor_for, sysadmin, filled):
    who = actor_for(sysadmin)
    some = preview_garbage(actor=who, older_than=gc_preview.read_age("0m"), most=2)
    assert (len(some.found), some.complete) == (2, False)
    none = preview_garbage(actor=who, older_than=gc_preview.read_age("0m"), seconds=-1)
    assert (none.found, none.complete) == ([], False)


def test_the_page_says_how_much_and_how_it_goes(web, sysadmin, filled):
    text = web(sysadmin).get(PAGE).content.decode()
    assert "<b>4 artifacts of 10 B</b> would be deleted." in text
    assert "python manage.py collect_garbage --older-than 0m" in text
    assert "/api/v1/artifacts/garbage?older_than=0m" in text
    assert all(digest[:8] in text for digest in filled)


def test_a_page_looks_longer_only_where_it_is_asked_to(web, sysadmin, filled, monkeypatch):
    monkeypatch.setattr("apps.platform.artifacts.views.QUICK_SECONDS", -1)
    client = web(sysadmin)
    text = client.get(PAGE).content.decode()
    assert "Nothing was found in this time" in text
    assert "look=long" in text
    assert "<b>4 artifacts of 10 B</b> would be deleted." in client.get(f"{PAGE}&look=long").content.decode()
    assert len(b"".join(client.get(f"{PAGE}&format=csv")).decode().splitlines()) == 5


def test_the_page_narrows_and_gives_a_file(web, sysadmin, filled):
    client = web(sysadmin)
    lines = b"".join(client.get(f"{PAGE}&why=unnamed&format=csv")).decode().splitlines()
    assert lines[0] == "digest,size,why"
    assert len(lines) == 2
    assert lines[1].endswith(",4,unnamed")


def test_an_empty_store_and_a_wrong_age_have_their_pages(web, sysadmin):
    client = web(sysadmin)
    text = client.get("/garbage").content.decode()
    assert "Everything in the store is cited, or came lately" in text
    assert 'class="chip"' not in text  # nobody has asked for an age: there is nothing to clear
    answer = client.get("/garbage?older_than=soon")
    assert (answer.status_code, "is no age" in answer.content.decode()) == (422, True)


def test_the_nodes_lead_to_it(web, sysadmin, engineer):
    assert 'href="/garbage"' in web(sysadmin).get("/nodes").content.decode()
    assert 'href="/garbage"' not in web(engineer).get("/nodes").content.decode()
