"""The page of holds: everybody of the project reads it, the auditor alone acts on it."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import Experiment, Run
from apps.platform.holds.models import Hold
from apps.platform.holds.services import place_hold

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
    assert b"No holds." in client.get(url).content
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
    assert b"No hold matches." in client.get(f"{url}?kind=run").content
    assert b"No hold matches." in client.get(f"{url}?state=released").content
    wrong = client.get(f"{url}?kind=moon")
    assert (wrong.status_code, b"There is no kind" in wrong.content) == (422, True)
    file = b"".join(client.get(f"{url}?format=csv"))
    assert file.decode().splitlines()[1].startswith("project,case <12>,")


def test_a_stranger_finds_nothing(web, stranger, project):
    assert web(stranger).get(f"/p/{project.slug}/holds").status_code == 404


@pytest.fixture
def held(project, actor_for, auditor):
    """A run of the project, held."""
    experiment = Experiment.objects.create(project=project, number=1, name="e", created_by="x")
    run = Run.objects.create(id="a" * 32, project=project, experiment=experiment, name="<first>", created_by="x")
    return place_hold(actor=actor_for(auditor), project=project, object_type="run", object_id=run.pk, reason="case 9")


def test_what_is_held_is_named_to_whoever_may_see_it(web, engineer, auditor, project, held):
    url = f"/p/{project.slug}/holds"
    assert (
        f'<a href="/p/{project.slug}/runs/{held.object_id}">&lt;first&gt;</a>'
        in web(engineer).get(url).content.decode()
    )
    told = web(auditor).get(url).content.decode()
    assert held.object_id in told
    assert "first" not in told
    assert f"/runs/{held.object_id}" not in told


def test_what_is_gone_has_no_page(web, engineer, project, held):
    Hold.objects.filter(pk=held.pk).update(object_id="0" * 32)
    told = web(engineer).get(f"/p/{project.slug}/holds").content.decode()
    assert "0" * 32 in told
    assert f"/runs/{'0' * 32}" not in told
