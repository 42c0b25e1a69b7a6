"""Labelling over REST, and its pages."""

from __future__ import annotations

import pytest
from django.urls import reverse

from apps.core.errors import Conflict, Invalid
from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject, LabelServer
from apps.ml.labelling.tokens import decrypt_token
from tests.apps.ml.labelling.conftest import TEMPLATE
from tests.label_studio import TOKEN

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(project):
    return lambda tail: f"/api/v1/projects/{project.slug}/labelling/{tail}"


@pytest.fixture
def address(project):
    return lambda name, *args: reverse(f"labelling:{name}", args=[project.slug, *args])


def test_from_the_connection_to_the_project(api, engineer, url, studio, texts):
    client = api(engineer)
    body = {"name": "studio", "url": studio.url, "token": TOKEN}
    made = client.post(url("servers"), body, format="json")
    assert (made.status_code, made.json()["state"]) == (201, "unchecked")
    assert TOKEN not in made.content.decode()
    assert TOKEN not in LabelServer.objects.get().token
    assert decrypt_token(LabelServer.objects.get().token) == TOKEN
    saved = client.post(url("schemas"), {"name": "names", "config": TEMPLATE}, format="json")
    assert (saved.status_code, saved.json()["config"]) == (201, TEMPLATE)
    assert client.post(url("schemas"), {"name": "names", "config": TEMPLATE}, format="json").status_code == 200
    body = {"name": "people", "server": "studio", "schema": "names:v1", "source": "texts:v1"}
    made = client.post(url("projects"), body, format="json")
    assert (made.status_code, made.json()["state"]) == (201, "preparing")
    assert client.post(url("projects"), body, format="json").status_code == 409
    pk = made.json()["id"]
    assert client.post(url(f"projects/{pk}/close"), {}, format="json").json()["state"] == "closed"
    assert client.post(url(f"projects/{pk}/close"), {}, format="json").status_code == 409
    assert client.post(url(f"projects/{pk}/sync")).status_code == 409


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"schema": "gone:v1"}, 404),
        ({"schema": "names"}, 422),
        ({"source": "texts:v9"}, 404),
        ({"server": "gone"}, 404),
        ({"overlap": 2}, 422),
        ({"bar": 0.5}, 422),
        ({"groups": ["a", "a"]}, 422),
        ({"order": "uncertainty"}, 422),
        ({"name": "A B"}, 422),
    ],
)
def test_bad_fields_are_refused(api, engineer, url, server, schema, texts, changes, status):
    body = {"name": "people", "server": "studio", "schema": "names:v1", "source": "texts:v1", **changes}
    answer = api(engineer).post(url("projects"), body, format="json")
    assert answer.status_code == status, answer.json()
    assert not LabellingProject.objects.exists()


def test_only_listed_hosts_are_connected_to(actor, project, studio, settings):
    facts = {"actor": actor, "project": project, "name": "x", "token": TOKEN}
    for place in ("http://10.0.0.9", "ftp://127.0.0.1", f"{studio.url}/?a=1", "http://user@127.0.0.1"):
        with pytest.raises(Invalid):
            services.connect_server(url=place, **facts)
    settings.LABELLING_HOSTS = []
    with pytest.raises(Conflict):
        services.connect_server(url=studio.url, **facts)


def test_the_token_is_sent_to_no_host_that_it_was_not_set_for(actor, server, settings):
    settings.LABELLING_HOSTS = [*settings.LABELLING_HOSTS, "labels.example:80"]
    with pytest.raises(Invalid) as caught:
        services.update_server(actor=actor, server=server, url="http://labels.example")
    assert caught.value.field == "token"
    assert services.update_server(actor=actor, server=server, url=f"{server.url}/labels").url.endswith("/labels")
    moved = services.update_server(actor=actor, server=server, url="http://labels.example", token="e" * 40)
    assert (moved.url, decrypt_token(moved.token)) == ("http://labels.example", "e" * 40)


def test_a_connection_that_is_used_stays(actor, create):
    labelling = create()
    with pytest.raises(Conflict):
        services.delete_server(actor=actor, server=labelling.server)


def test_a_webhook_only_rings_and_only_with_its_secret(client, labelling):
    group = labelling.groups.first()
    hook = reverse("api-labelling-hook", args=[group.hook_key])
    later = labelling.next_at
    assert client.post(hook, headers={"X-Plane-Secret": "guess"}).status_code == 401
    assert client.post(reverse("api-labelling-hook", args=["0" * 32])).status_code == 401
    labelling.refresh_from_db()
    assert labelling.next_at == later
    secret = decrypt_token(labelling.server.hook_secret)
    for _twice in range(2):
        assert client.post(hook, headers={"X-Plane-Secret": secret}).status_code == 204
    labelling.refresh_from_db()
    assert labelling.next_at < later


def test_strangers_and_viewers(api, stranger, viewer, url, agreed):
    tails = ("servers", "projects", f"projects/{agreed.pk}", f"projects/{agreed.pk}/tasks/1")
    assert {api(stranger).get(url(tail)).status_code for tail in tails} == {404}
    assert {api(viewer).get(url(tail)).status_code for tail in tails} == {200}
    shown = api(viewer).get(url(f"projects/{agreed.pk}/tasks/4")).json()
    assert [row["annotator"] for row in shown["annotations"]] == ["A1", "A2"]
    assert api(viewer).post(url(f"projects/{agreed.pk}/sync")).status_code == 403


def test_the_pages_lead_to_a_decision(browser, engineer, viewer, address, agreed):
    visitor = browser(engineer)
    assert "people" in visitor.get(address("list")).text
    shown = visitor.get(address("project", agreed.pk)).text
    assert all(text in shown for text in ("Decide the disputed tasks", "Krippendorff", "A1", "texts v1"))
    task = visitor.get(address("task", agreed.pk, 4)).text
    assert "Nobody" in task
    assert 'value="0:6:PERSON"' in task
    answer = visitor.post(address("task", agreed.pk, 4), {"span": ["0:6:PERSON"], "note": "clear"})
    assert answer.url == address("project", agreed.pk)
    assert agreed.tasks.get(number=3).state == "adjudicated"
    assert ">Decide<" not in browser(viewer).get(address("task", agreed.pk, 4)).text
    assert browser(viewer).post(address("task", agreed.pk, 4), {"span": []}).status_code == 403


def test_the_schema_editor(browser, engineer, address, schema):
    visitor = browser(engineer)
    bad = visitor.post(address("schemas"), {"name": "other", "document": '{"level": "basic"}'})
    assert bad.status_code == 422
    good = visitor.post(address("schemas"), {"name": "names", "document": TEMPLATE.replace("ORG", "FIRM")})
    assert good.url == address("schema", "names", 2)
    assert "FIRM" in visitor.get(good.url).text


def test_a_connection_in_the_browser(browser, engineer, address, studio):
    visitor = browser(engineer)
    form = {"name": "studio", "url": studio.url, "token": TOKEN}
    assert visitor.post(address("servers"), {**form, "url": "http://10.9.9.9"}).status_code == 422
    assert visitor.post(address("servers"), form).status_code == 302
    shown = visitor.get(address("server", "studio")).text
    assert studio.url in shown
    assert TOKEN not in shown


def test_a_project_page_is_a_few_queries(browser, engineer, address, agreed, django_assert_max_num_queries):
    visitor = browser(engineer)
    visitor.get(address("project", agreed.pk))
    with django_assert_max_num_queries(25):
        visitor.get(address("project", agreed.pk))
