"""The page of holds: everybody of the project reads it, the auditor alone acts on it."""

from __future__ import annotations

import pytest

from apps.holds.models import Hold
from apps.holds.services import place_hold

pytestmark = pytest.mark.django_db


@pytest.fixture
def hold(project, actor_for, auditor):
    return place_hold(actor=actor_for(auditor), project=project, object_type="project", reason="case <12>")


def test_the_auditor_places_and_releases(web, auditor, project):
    client, url = web(auditor), f"/p/{project.slug}/holds"
    assert b"Place a hold" in client.get(url).content
    answer = client.post(url, {"object_type": "project", "reason": "case 12"}, follow=True)
    assert "case 12" in answer.content.decode()
    hold = Hold.objects.get()
    client.post(f"{url}/{hold.pk}/release", {"reason": "closed"})
    assert b"Nothing is held." in client.get(url).content
    assert b"closed" in client.get(f"{url}?state=released").content


def test_a_refused_form_keeps_what_was_typed(web, auditor, project):
    sent = {"object_type": "run", "object_id": "nothing", "reason": "case 12"}
    answer = web(auditor).post(f"/p/{project.slug}/holds", sent)
    assert answer.status_code == 404
    text = answer.content.decode()
    assert "The project has no run" in text
    assert "case 12" in text


def test_a_member_reads_and_does_not_act(web, engineer, project, hold):
    client, url = web(engineer), f"/p/{project.slug}/holds"
    text = client.get(url).content.decode()
    assert "case &lt;12&gt;" in text
    assert "Place a hold" not in text
    assert client.post(url, {"object_type": "project", "reason": "x"}).status_code == 403
    assert client.post(f"{url}/{hold.pk}/release", {"reason": "x"}).status_code == 403
    assert Hold.objects.get().released_at is None


def test_the_list_is_narrowed_and_saved_as_a_file(web, engineer, project, hold):
    client, url = web(engineer), f"/p/{project.slug}/holds"
    assert b"case &lt;12&gt;" in client.get(f"{url}?kind=project&q=CASE&placed_after=today").content
    assert b"No hold fits." in client.get(f"{url}?kind=run").content
    assert b"No hold fits." in client.get(f"{url}?state=released").content
    wrong = client.get(f"{url}?kind=moon")
    assert (wrong.status_code, b"There is no kind" in wrong.content) == (422, True)
    file = b"".join(client.get(f"{url}?format=csv"))
    assert file.decode().splitlines()[1].startswith("project,case <12>,")


def test_a_stranger_finds_nothing(web, stranger, project):
    assert web(stranger).get(f"/p/{project.slug}/holds").status_code == 404
